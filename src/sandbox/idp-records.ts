import type { Adapter, AdapterPayload } from "oidc-provider";

/** What one stand-in keeps, in memory and for its own life: it lives minutes, so nothing expires early. */
export class IdpRecords {
  readonly #records = new Map<string, AdapterPayload>();

  /** oidc-provider's adapter for one model. Bound, since oidc-provider calls it as a plain function. */
  readonly adapter = (model: string): Adapter => {
    const records = this.#records;
    const keyOf = (id: string): string => `${model}:${id}`;
    return {
      upsert: (id, payload) => {
        records.set(keyOf(id), payload);
        return Promise.resolve(undefined);
      },
      find: (id) => Promise.resolve(records.get(keyOf(id))),
      findByUid: (uid) => {
        const own = [...records].find(([key, record]) => key.startsWith(`${model}:`) && record.uid === uid);
        return Promise.resolve(own?.[1]);
      },
      findByUserCode: () => Promise.resolve(undefined),
      consume: (id) => {
        const record = records.get(keyOf(id));
        if (record) record["consumed"] = Math.floor(Date.now() / 1000);
        return Promise.resolve(undefined);
      },
      destroy: (id) => {
        records.delete(keyOf(id));
        return Promise.resolve(undefined);
      },
      revokeByGrantId: (grantId) => {
        for (const [key, record] of records) if (record.grantId === grantId) records.delete(key);
        return Promise.resolve(undefined);
      },
    };
  };
}

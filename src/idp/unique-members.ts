/**
 * True where some object in `json`, at any depth, has two members of one name. `json` must be valid. Parsers differ in
 * which of the two they take (RFC 8259 4), so one of them would be read by us and the other by somebody else.
 */
export function hasDuplicateMembers(json: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  let name = "";
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    // Outside of text a colon stands only after a member's name.
    else if (token === ":") {
      const members = open.at(-1);
      if (members?.has(name)) return true;
      members?.add(name);
    } else name = JSON.parse(token) as string;
  }
  return false;
}

/** What `make` makes of `source()`: made anew only once that is another object than before. */
export function following<Source extends object, Made>(
  source: () => Source,
  make: (source: Source) => Made,
): () => Made {
  let last: { readonly source: Source; readonly made: Made } | undefined;
  return () => {
    const now = source();
    if (last?.source !== now) last = { source: now, made: make(now) };
    return last.made;
  };
}

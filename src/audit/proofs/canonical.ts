import canonicalize from 'canonicalize'

/** The RFC 8785 canonical form of a JSON value: the same text for the same value, in any language. */
export function canonicalJson(value: object): string {
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('a JSON object is always canonicalizable')
  return text
}

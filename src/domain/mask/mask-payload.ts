/**
 * Properties of records whose strings the server itself writes: ids, hashes and words of a fixed set. No known shape
 * fits them, but a key of the server might be such a word.
 */
const OWN_PROPERTIES: ReadonlySet<string> = new Set([
  ...['node', 'outcome', 'verdict', 'decision', 'status', 'role'],
  ...['claimant', 'hash', 'sha256', 'request_sha256'],
])
/** Models, providers and MCP servers write any JSON in these properties, so names in it can be secrets too. */
const FREE_PROPERTIES: ReadonlySet<string> = new Set(['args', 'items', 'input_schema'])

/**
 * The payload of a record with all its strings masked; the same object if there is nothing to mask. Property names are
 * masked only where models and providers write them: elsewhere a schema fixes them.
 */
export function maskPayload<P extends object>(payload: P, mask: (text: string) => string): P {
  return withMasked(payload, mask, false) as P
}

function withMasked(value: unknown, mask: (text: string) => string, free: boolean): unknown {
  if (typeof value === 'string') return mask(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = value.map((item) => withMasked(item, mask, free))
    return items.every((item, index) => item === value[index]) ? value : items
  }
  const masked = new Map<string, unknown>()
  let changed = false
  for (const [name, item] of Object.entries(value)) {
    const isOwn = !free && typeof item === 'string' && OWN_PROPERTIES.has(name)
    const maskedName = free ? unusedName(mask(name), masked) : name
    const maskedItem = isOwn ? item : withMasked(item, mask, free || FREE_PROPERTIES.has(name))
    changed ||= maskedName !== name || maskedItem !== item
    masked.set(maskedName, maskedItem)
  }
  return changed ? Object.fromEntries(masked) : value
}

/** Keeps two names apart that have the same mask. */
function unusedName(name: string, used: ReadonlyMap<string, unknown>): string {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? name : `${name} ${number}`
    if (!used.has(candidate)) return candidate
  }
}

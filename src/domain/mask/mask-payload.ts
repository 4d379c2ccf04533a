/**
 * Strings of records that the server itself makes and reads again: ids, hashes and words of a fixed set.
 * No known shape fits them, but a key of the server might happen to be such a word.
 */
const OURS: ReadonlySet<string> = new Set([
  ...['node', 'outcome', 'decision', 'status', 'role'],
  ...['claimant', 'hash', 'sha256', 'request_sha256'],
])
/** What models ask tools for: any JSON at all, so the names in it can be secrets too. */
const ARGUMENTS = 'args'

/**
 * The payload of a record with all its strings masked; the same object where there was nothing to mask.
 * Names of properties are masked in the arguments of tools only: elsewhere they are those of a schema.
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
    const isOurs = !free && typeof item === 'string' && OURS.has(name)
    const maskedName = free ? unusedName(mask(name), masked) : name
    const maskedItem = isOurs ? item : withMasked(item, mask, free || name === ARGUMENTS)
    changed ||= maskedName !== name || maskedItem !== item
    masked.set(maskedName, maskedItem)
  }
  return changed ? Object.fromEntries(masked) : value
}

/** Two names that are masked alike stay two. */
function unusedName(name: string, used: ReadonlyMap<string, unknown>): string {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? name : `${name} ${number}`
    if (!used.has(candidate)) return candidate
  }
}

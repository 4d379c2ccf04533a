import type { RunState } from '../domain/state.ts'

/**
 * The revision of a run as an entity tag; what was made of a run before something was taken out of it
 * has another one. @param redactions how often that was done
 */
export const etagOf = ({ seq }: Pick<RunState, 'seq'>, redactions = 0): string =>
  entityTag(String(seq), redactions)

export const entityTag = (name: string, redactions: number): string =>
  redactions === 0 ? `"${name}"` : `"${name}-r${redactions}"`

/** Whether an If-None-Match header names the tag: RFC 9110 compares weakly here. */
export function isKnown(etag: string, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch === undefined) return false
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}

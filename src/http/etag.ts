import type { RunState } from '../domain/state.ts'

/** The revision of a run as an entity tag. */
export const etagOf = ({ seq }: Pick<RunState, 'seq'>): string => `"${seq}"`

/** Whether an If-None-Match header names the tag: RFC 9110 compares weakly here. */
export function isKnown(etag: string, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch === undefined) return false
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}

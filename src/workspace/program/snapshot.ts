import { MOST_LEFT_OUT } from '../../domain/snapshots.ts'
import { shownPath } from '../../lib/git-objects.ts'
import type { Questions, Served } from '../protocol.ts'
import { rulesAbove } from './ignore-rules.ts'
import { pathIn, Refusal, ROOT } from './paths.ts'
import type { KnownFolder } from './snapshot-folder.ts'
import { SnapshotPacks } from './snapshot-packs.ts'
import { SnapshotWalk } from './snapshot-walk.ts'

const packs = new SnapshotPacks()
let known: KnownFolder | null = null

/** What is known of the last snapshot. */
export type LastSnapshot = {
  readonly folder: KnownFolder
  readonly leftOut: SnapshotWalk['leftOut']
  readonly asked: Questions['snapshot']
}
let last: LastSnapshot | null = null
/** Null if there is none, or if the last one failed. */
export const lastSnapshot = (): LastSnapshot | null => last

/**
 * Makes a tree of all files of the project, as they are now. Nothing in the project is written, and no git is run. If the answer
 * does not name all that was left out, the body does, as JSON.
 */
export function snapshot(asked: Questions['snapshot']): Served<'snapshot'> {
  last = null
  // It must still be where it was.
  pathIn('.')
  packs.begin(asked.maxBytes, asked.maxTreeBytes)
  const walk = new SnapshotWalk(asked, packs)
  known = walk.project(rulesAbove(asked.copyOf ?? ROOT), known)
  const { files, bytes, leftOut, leftOutCount } = walk
  last = { folder: known, leftOut, asked }
  leftOut.sort((a, b) => (a.bytes < b.bytes ? -1 : 1))
  const named = leftOut.map((one) => ({ path: shownPath(one.bytes), ...one.left }))
  const left_out = named.length > MOST_LEFT_OUT ? null : named
  return {
    tree: known.tree.id,
    files,
    bytes,
    left_out,
    left_out_count: leftOutCount,
    ...packs.end(),
    body: Buffer.from(left_out === null ? JSON.stringify(named) : ''),
  }
}

export function pack({ number }: Questions['pack']): Served<'pack'> {
  const body = packs.fetch(number)
  if (body === null) throw new Refusal('not_found')
  return { body }
}

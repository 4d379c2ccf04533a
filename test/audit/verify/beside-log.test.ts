import { expect, test } from 'vitest'
import { TreesCheck } from '../../../src/audit/verify/beside-log.ts'
import type { PayloadOf } from '../../../src/audit/verify/read-record.ts'
import { RedactionCheck } from '../../../src/audit/verify/redaction-check.ts'
import type { GitObject } from '../../../src/lib/git-objects.ts'
import { encodeTree, objectId } from '../../../src/lib/git-objects.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { writePack } from '../../../src/lib/write-pack.ts'
import { GENESIS } from '../../../src/log/chain.ts'

const object = (type: GitObject['type'], content: Buffer): GitObject => ({
  id: objectId(type, content),
  type,
  content,
})
const file = object('blob', Buffer.from('a\n'))
const folder = object('tree', encodeTree([{ mode: '100644', name: 'a.txt', id: file.id }]))
const project = object('tree', encodeTree([{ mode: '40000', name: 'docs', id: folder.id }]))

type Case = {
  readonly kept: readonly GitObject[]
  readonly more?: object
  /** The pack is not there. */
  readonly isLost?: boolean
  readonly redacted?: object
}

/** What is found about a snapshot of the project, with a pack of these objects. */
function found({ kept, more = {}, isLost = false, redacted }: Case): readonly string[] {
  const check = new TreesCheck()
  const redactions = new RedactionCheck()
  const pack = writePack(kept)
  const name = sha256(pack)
  const packs = [{ sha256: name, bytes: pack.length }]
  const snapshot: PayloadOf<'snapshot'> = { tree: project.id, packs, left_out: [], ...more }
  check.see('r', 3, snapshot)
  if (!isLost) expect(check.take(name, pack)).toBeNull()
  if (redacted !== undefined) {
    const payload = { run_id: 'r', seq: 3, redacted: {}, reason: 'why', ...redacted }
    const meta = { schema: 1, command_id: 'c', salt: '', prev_hash: GENESIS, hash: '' } as const
    redactions.add({ seq: 0, meta, record: { kind: 'redacted', ts: 1, payload } })
  }
  return check.findings(redactions).map(({ problem, where, seq, message }) => {
    return `${problem} ${where} ${seq} ${message}`
  })
}

test('a snapshot holds if packs have each tree and each content that it names', () => {
  expect(found({ kept: [file, folder, project] })).toEqual([])
})

test('what no pack has is named with its place', () => {
  const inRun = (of: string, { id }: GitObject) =>
    `missing run r 3 ${of} in this snapshot, ${id}, is in no pack`
  expect(found({ kept: [folder, project] })).toEqual([inRun('"docs/a.txt"', file)])
  expect(found({ kept: [file, project] })).toEqual([inRun('"docs"', folder)])
  expect(found({ kept: [file, folder] })).toEqual([inRun('the project', project)])
})

test('nothing is wrong if that is recorded, or if a pack is lost, which is found elsewhere', () => {
  const kept = [folder, project]
  expect(found({ kept, more: { unkept: { objects: 1, bytes: 2 } } })).toEqual([])
  expect(found({ kept, isLost: true })).toEqual([])
  expect(found({ kept, redacted: { objects: [file.id] } })).toEqual([])
  expect(found({ kept, redacted: { absent: true } })).toEqual([])
})

test('an artifact that is no pack is named', () => {
  expect(new TreesCheck().take('a', Buffer.from('text'))).toBe('it is no pack')
})

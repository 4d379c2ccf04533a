import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packOf } from '../../../src/audit/bundle/bundle-format.ts'
import { namedObjects } from '../../../src/audit/verify/files-check.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { PayloadOf, RunRecord } from '../../../src/domain/records.ts'
import {
  decodeTree,
  EMPTY_TREE,
  encodeTree,
  type GitObject,
  objectId,
} from '../../../src/lib/git-objects.ts'
import { readPack } from '../../../src/lib/git-pack.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { writePack } from '../../../src/lib/write-pack.ts'
import { twoProjects } from '../../snapshots/arbitraries.ts'
import { type Files, filesOf, Objects } from '../../snapshots/support.ts'
import { isMissing } from '../../support/missing.ts'
import { createdRecord } from '../../support/run-records.ts'
import { inPython } from '../python.ts'
import {
  archived,
  contentOf,
  eventsOf,
  exported,
  forAll,
  listedAgain,
  newKeys,
  type Part,
  partsOf,
  replaced,
} from '../support.ts'

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const common = { run_id: RUN_ID, iteration: 0, ts: 1_770_000_001 }
const TOKEN = `ghp_${'a1B2'.repeat(9)}`

const keys = await newKeys()

/** A run with a snapshot of each of these projects, each with a pack of what is new in it. */
class Run {
  readonly objects = new Objects()
  readonly trees: string[]
  readonly packs = new Map<string, Buffer>()
  readonly records: RunRecord[] = [createdRecord(RUN_ID)]

  /** @param unkept gets the ids of a snapshot, and says which are not kept */
  constructor(
    projects: readonly Files[],
    unkept: (object: GitObject, snapshot: number) => boolean = () => false,
  ) {
    const known = new Set<string>()
    this.trees = projects.map((files, snapshot) => {
      const tree = this.objects.add(files)
      const all = (type: GitObject['type'], from: ReadonlyMap<string, Buffer>): GitObject[] =>
        [...from].map(([id, content]) => ({ id, type, content }))
      const { trees, blobs } = this.objects
      const fresh = [...all('blob', blobs), ...all('tree', trees)].filter(
        ({ id }) => !known.has(id),
      )
      for (const { id } of fresh) known.add(id)
      const kept = fresh.filter((object) => !unkept(object, snapshot))
      const pack = writePack(kept)
      const named = kept.length === 0 ? [] : [{ sha256: sha256(pack), bytes: pack.length }]
      if (kept.length > 0) this.packs.set(sha256(pack), pack)
      const left = fresh.length - kept.length
      const payload: PayloadOf<'snapshot'> = {
        tree,
        files: files.size,
        bytes: 0,
        left_out: [],
        packs: named,
        ...(left === 0 ? {} : { unkept: { objects: left, bytes: 1 } }),
      }
      this.records.push({ ...common, kind: 'snapshot', payload })
      return tree
    })
  }

  exported(files = false, packs: ReadonlyMap<string, Buffer> = this.packs): Promise<Part[]> {
    return exported(eventsOf(this.records), keys, packs, {}, { files })
  }
}

const verified = (parts: readonly Part[]) => verifyBundle(partsOf(parts))

function objectsIn(parts: readonly Part[]): Map<string, GitObject> {
  const packs = parts.filter(({ path }) => packOf(path) !== null)
  const all = packs.flatMap(({ content }) => readPack(content)._unsafeUnwrap())
  return new Map(all.map((object) => [object.id, object]))
}

/** The files of a tree, from these objects alone. */
function rebuilt(objects: ReadonlyMap<string, GitObject>, id: string): [string, string, string][] {
  if (id === EMPTY_TREE) return []
  return (decodeTree(objects.get(id)?.content ?? Buffer.from('?')) ?? []).flatMap((entry) => {
    if (entry.mode !== '40000') {
      return [[entry.name, entry.mode, String(objects.get(entry.id)?.content.toString('latin1'))]]
    }
    return rebuilt(objects, entry.id).map(([path, mode, content]): [string, string, string] => {
      return [`${entry.name}/${path}`, mode, content]
    })
  })
}
const asList = (files: Files) =>
  [...files].map(([path, { mode, content }]) => [path, mode, content.toString('latin1')])

describe('an export of files', () => {
  test('of any snapshots holds, gives every difference, and with --files both ends', async () => {
    await forAll(
      60,
      fc.tuple(twoProjects, twoProjects),
      async ([[first, second], [third, last]]) => {
        const run = new Run([first, second, third, last])
        const parts = await run.exported()
        expect(await verified(parts)).toMatchObject({ holds: true, findings: [] })
        const objects = objectsIn(parts)
        for (const [before, after] of [
          [first, second],
          [second, third],
          [third, last],
        ] as const) {
          const { changes } = await run.objects.compare(before, after)
          for (const { old, new: fresh } of changes) {
            if (old?.id === fresh?.id) continue
            for (const file of [old, fresh]) if (file) expect(objects.has(file.id)).toBe(true)
          }
        }
        const whole = await run.exported(true)
        expect(await verified(whole)).toMatchObject({ holds: true, findings: [] })
        for (const [tree, files] of [
          [run.trees[0], first],
          [run.trees[3], last],
        ] as const) {
          const found = rebuilt(objectsIn(whole), tree ?? '')
          expect(found.toSorted()).toEqual(asList(files).toSorted())
        }
      },
    )
  })

  test('may lack what the server did not keep, but only from the record on that names it', async () => {
    const projects = [
      filesOf({ a: '1', b: 'x' }),
      filesOf({ a: '2', b: 'x' }),
      filesOf({ a: '3', b: 'x' }),
    ]
    const content = (text: string) => objectId('blob', Buffer.from(text))
    const late = new Run(projects, ({ id }, snapshot) => snapshot > 0 && id === content('2'))
    expect(await verified(await late.exported())).toMatchObject({
      holds: true,
      findings: [],
      files: { absent: { not_kept: 1, not_exported: 1 } },
    })
    // The first content is missing too, and the server had kept all that was there then.
    const lost = new Run(projects)
    for (const [name, pack] of lost.packs) {
      const left = readPack(pack)
        ._unsafeUnwrap()
        .filter(({ id }) => id !== content('1'))
      lost.packs.set(name, writePack(left))
    }
    expect(await verified(await lost.exported())).toMatchObject({
      holds: false,
      first_bad_seq: 1,
      findings: [
        { problem: 'missing', seq: 1, message: expect.stringContaining('content of "a"') },
      ],
    })
  })

  test('is found changed, missing or added, by both verifiers, with the snapshot and the path', async () => {
    const first = { a: '1', 'sub/deep/same': 'same' }
    const run = new Run([filesOf({}), filesOf(first), filesOf({ ...first, a: '2', 'sub/b': 'x' })])
    const parts = await run.exported()
    const blob = (text: string) => objectId('blob', Buffer.from(text))
    const deep = run.objects.add(filesOf({ same: 'same' }))
    /** The same export with other objects, signed again. */
    const forged = (change: (objects: readonly GitObject[]) => readonly GitObject[]): Part[] =>
      listedAgain(
        parts.map(({ path, content }) => {
          const read = packOf(path) === null ? null : readPack(content)._unsafeUnwrap()
          return { path, content: read === null ? content : writePack(change(read)) }
        }),
        keys,
      )
    const without = (id: string) => forged((all) => all.filter((one) => one.id !== id))
    const instead = (id: string, from: string, to: string) =>
      forged((all) =>
        all.map((one) => {
          const content = Buffer.from(one.content.toString('latin1').replace(from, to), 'latin1')
          return one.id === id ? { ...one, content } : one
        }),
      )
    const content = Buffer.from('more')
    const added = { id: objectId('blob', content), type: 'blob' as const, content }
    const found = (problem: string, seq: number | null, message: string) =>
      expect.objectContaining({ problem, seq, message: expect.stringContaining(message) })
    const noTree = found('missing', 2, 'the tree of "sub/deep" in this')
    const foreign = found('unexpected', null, 'does not belong to an export')
    const [, { path: pack = '' } = {}] = parts.filter(({ path }) => packOf(path) !== null)
    const of = (problem: string) => expect.objectContaining({ problem, where: pack })
    const cases: readonly (readonly [string, Part[], unknown])[] = [
      // What only a missing tree names belongs to nothing.
      ['a tree is missing', without(deep), [noTree, foreign]],
      ['a tree is changed', instead(deep, 'same', 'sane'), expect.arrayContaining([noTree])],
      [
        'a content is changed',
        instead(blob('2'), '2', '3'),
        [found('missing', 3, 'the content of "a" in this'), foreign],
      ],
      [
        'a content is missing',
        without(blob('same')),
        [found('missing', 2, 'the content of "sub/deep/same" in this')],
      ],
      ['one is added', forged((all) => [...all, added]), expect.arrayContaining([foreign])],
      [
        'a pack is damaged',
        replaced(parts, pack, contentOf(parts, pack).subarray(1)),
        expect.arrayContaining([of('changed')]),
      ],
      [
        'a pack is gone',
        parts.filter(({ path }) => path !== pack),
        expect.arrayContaining([of('missing')]),
      ],
    ]
    const reports = await Promise.all(cases.map(([, bad]) => verified(bad)))
    for (const [index, [what, , findings]] of cases.entries()) {
      expect(reports[index]?.findings, what).toEqual(findings)
    }
    if (isMissing('python3')) return
    const answers = await inPython(await Promise.all(cases.map(([, bad]) => archived(bad))))
    const told = reports.map(({ holds, first_bad_seq }) => ({ holds, first_bad_seq }))
    expect(answers).toMatchObject(told)
  })

  test('names a pack that the server has lost', async () => {
    const run = new Run([filesOf({ a: '1' }), filesOf({ a: '2' })])
    const [[name = ''] = [], ...others] = run.packs
    const parts = await run.exported(false, new Map(others))
    expect(await verified(parts)).toMatchObject({
      holds: false,
      findings: [{ problem: 'missing', where: `objects/${name}.pack`, seq: 1 }],
    })
  })

  test('withholds a folder with a secret in a name, and knows nothing of what is below', async () => {
    const run = new Run([filesOf({ a: '1' }), filesOf({ a: '1', [`sub/${TOKEN}/x`]: '2' })])
    const parts = await run.exported(true)
    for (const { content } of parts) expect(content.includes(TOKEN)).toBe(false)
    for (const { content } of objectsIn(parts).values()) expect(content.includes(TOKEN)).toBe(false)
    expect(await verified(parts)).toMatchObject({
      holds: true,
      findings: [],
      files: { withheld: [{ path: 'sub' }], absent: { masked: 1 } },
    })
    const archive = await archived(parts)
    if (!isMissing('python3')) expect(await inPython([archive])).toMatchObject([{ holds: true }])
  })

  test('takes no longer than its objects are many, however often trees name each other', () => {
    const trees = new Map<string, Buffer>()
    const grow = (text: string): string => {
      let below = objectId('blob', Buffer.from(text))
      for (let depth = 0; depth < 60; depth += 1) {
        const mode = depth === 0 ? ('100644' as const) : ('40000' as const)
        const id = below
        const tree = encodeTree(['a', 'b', 'c', 'd'].map((name) => ({ mode, name, id })))
        below = objectId('tree', tree)
        trees.set(below, tree)
      }
      return below
    }
    const snapshots = ['1', '2', '3'].map((text, seq) => ({ seq, tree: grow(text) }))
    let reads = 0
    const found = namedObjects(
      snapshots,
      (id) => {
        reads += 1
        return decodeTree(trees.get(id) ?? Buffer.from('?'))
      },
      true,
    )
    expect([found.trees.size, found.exported.size]).toEqual([180, 3])
    expect(reads).toBeLessThan(1000)
  })
})

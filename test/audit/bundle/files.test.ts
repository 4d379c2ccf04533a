import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { describe, expect } from 'vitest'
import { RunChanges } from '../../../src/api/changes.ts'
import { KEYS, MANIFEST, Manifest, PROOF, packOf } from '../../../src/audit/bundle/bundle-format.ts'
import { packed } from '../../../src/audit/bundle/export-parts.ts'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import { seal } from '../../../src/checkpoints/keyring.ts'
import type { Sealed } from '../../../src/checkpoints/public-keys.ts'
import { type GitObject, objectId } from '../../../src/lib/git-objects.ts'
import { readPack } from '../../../src/lib/git-pack.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { writePack } from '../../../src/lib/write-pack.ts'
import { canonicalText } from '../../../src/log/commitment.ts'
import { isMissing } from '../../support/missing.ts'
import { bash, printed, Site, type SiteServer } from '../../support/site.ts'
import { test as base } from '../../support/test.ts'
import { inPython } from '../python.ts'
import { contentOf, newKeys, type Part, partsOf, replaced } from '../support.ts'

const TOKEN = `ghp_${'a1B2'.repeat(9)}`
const SCRIPT = [
  bash(`printf 'one\\n' > a.txt; mkdir -p sub/deep; echo same > sub/deep/same; echo x > sub/b`),
  bash(`echo two >> a.txt; printf 'token ${TOKEN}\\n' > conf; rm sub/b`),
  bash('touch done'),
]

/** `used` is a server with a run of this script, for all tests that only read. */
const test = base.extend('used', { scope: 'file' }, async ({ serverOptions: _ }, { onCleanup }) => {
  const site = await Site.open()
  onCleanup(() => site.close())
  await site.project()
  await site.write('project/old', 'stays\n')
  return { ...(await site.used(SCRIPT)), project: site.path('project') }
})

/** The parts of an export in a file. */
async function read(file: string): Promise<Part[]> {
  const parts: Part[] = []
  for await (const { path, body } of unpacked(createReadStream(file))) {
    parts.push({ path, content: await buffer(body) })
  }
  return parts
}

const objectsIn = (parts: readonly Part[]): GitObject[] =>
  parts
    .filter(({ path }) => packOf(path) !== null)
    .flatMap(({ content }) => readPack(content)._unsafeUnwrap())
const textsIn = (parts: readonly Part[]): string[] =>
  objectsIn(parts)
    .filter(({ type }) => type === 'blob')
    .map(({ content }) => content.toString())
    .toSorted()

/** The same export with other objects, signed again by somebody who has made a key for that. */
async function forged(
  parts: readonly Part[],
  change: (objects: readonly GitObject[]) => readonly GitObject[],
): Promise<Part[]> {
  const keys = await newKeys()
  const changed = parts.map((part): Part => {
    if (packOf(part.path) === null) return part
    return { ...part, content: writePack(change(readPack(part.content)._unsafeUnwrap())) }
  })
  const resealed = ({ key: _, signature: __, ...statement }: Sealed): string =>
    `${canonicalText(seal(statement, keys.signer))}\n`
  const own = replaced(changed, KEYS, `${canonicalText(keys.published)}\n`)
  const proof = JSON.parse(contentOf(parts, PROOF).toString())
  const all = replaced(own, PROOF, resealed(proof)).filter(({ path }) => path !== MANIFEST)
  const manifest = Manifest.parse(JSON.parse(contentOf(parts, MANIFEST).toString()))
  const listed = all.map(({ path, content }) => {
    return { path, bytes: content.length, sha256: sha256(content) }
  })
  const changedManifest = { ...manifest, parts: listed }
  const sealed = resealed(changedManifest)
  return [...all, { path: MANIFEST, content: Buffer.from(sealed) }]
}

const archive = async (parts: readonly Part[]): Promise<Buffer> => {
  const manifest = Manifest.parse(JSON.parse(contentOf(parts, MANIFEST).toString()))
  return buffer(packed(partsOf(parts), new Date(manifest.exported_at)))
}

/** What both verifiers say. */
async function verified(parts: readonly Part[]) {
  const report = await verifyBundle(partsOf(parts))
  if (!isMissing('python3')) {
    const [answer] = await inPython([await archive(parts)])
    expect(answer).toMatchObject({ holds: report.holds, first_bad_seq: report.first_bad_seq })
  }
  return report
}

async function exportTo(site: Site, server: SiteServer, runId: string, ...options: string[]) {
  const file = site.path(`${randomUUID()}.tar.gz`)
  const done = await server.retrai('export', runId, file, ...options)
  expect(done).toMatchObject({ code: 0 })
  return { file, parts: await read(file) }
}

async function changesOf(server: SiteServer, runId: string) {
  return RunChanges.parse((await server.get(`/api/runs/${runId}/changes`)).body)
}

describe('the files of a run', () => {
  test('are exported as far as they differ, or whole at both ends, without those that hold secrets', async ({
    used: { server, runId, project },
    site,
  }) => {
    const { file, parts } = await exportTo(site, server, runId)
    const config = await readFile(`${project}/.retrai.yml`, 'utf8')
    const differ = ['', 'one\n', 'one\ntwo\n', 'same\n', 'x\n'].toSorted()
    expect(textsIn(parts)).toEqual(differ)
    const report = await verified(parts)
    expect(report).toMatchObject({ holds: true, findings: [] })
    const none = { redacted: 0, not_kept: 0 }
    const withheld = [{ path: 'conf' }]
    expect(report.files).toMatchObject({
      ...{ snapshots: 4, contents: 5, first_and_last: false, withheld },
      absent: { ...none, masked: 1, not_exported: 2 },
    })
    const lines = await printed(['verify', file])
    expect(lines).toContain('Files: 4 snapshots of the files, recomputed from')
    expect(lines).toContain('Withheld: conf')

    const whole = await exportTo(site, server, runId, '--files')
    expect(textsIn(whole.parts)).toEqual([...differ, config, 'stays\n'].toSorted())
    expect((await verified(whole.parts)).files).toMatchObject({
      ...{ first_and_last: true, contents: 7, withheld },
      absent: { ...none, masked: 1, not_exported: 0 },
    })
    for (const { content } of [...parts, ...whole.parts])
      expect(content.includes(TOKEN)).toBe(false)
    // A pack from which nothing is withheld is the one that a record names.
    const packs = whole.parts.filter(({ path }) => packOf(path) !== null)
    const kept = packs.filter(({ path, content }) => packOf(path) === sha256(content))
    expect(kept.length).toBeGreaterThan(0)
    expect(kept.length).toBeLessThan(packs.length)
  })

  test('are found changed, missing or added, by both verifiers, with the snapshot and the path', async ({
    used: { server, runId },
    site,
  }) => {
    const { parts } = await exportTo(site, server, runId)
    const objects = objectsIn(parts)
    const trees = objects.filter(({ type }) => type === 'tree')
    const blob = (text: string) => objectId('blob', Buffer.from(text))
    const deep = trees.find(({ content }) => content.includes('same'))?.id ?? ''
    const without = (id: string) => (all: readonly GitObject[]) =>
      all.filter((one) => one.id !== id)
    const instead = (id: string, from: string, to: string) => (all: readonly GitObject[]) =>
      all.map((one) => {
        const content = Buffer.from(one.content.toString('latin1').replace(from, to), 'latin1')
        return one.id === id ? { ...one, content } : one
      })
    const seqs = await server.get(`/api/runs/${runId}/events?kinds=snapshot`)
    const [, second = { seq: 0 }] = seqs.body as unknown as { seq: number }[]
    const { seq } = second
    const problems = async (change: Parameters<typeof forged>[1]) => {
      const report = await verified(await forged(parts, change))
      expect(report.holds).toBe(false)
      return report.findings.map(({ problem, seq, message }) => [problem, seq, message])
    }
    const noTree = ['missing', seq, expect.stringContaining('the tree of "sub/deep" in this')]
    const foreign = ['unexpected', null, expect.stringContaining('does not belong to an export')]
    expect(await problems(without(deep))).toEqual([
      noTree,
      // What only a missing tree names belongs to nothing.
      foreign,
    ])
    expect((await problems(instead(deep, 'same', 'sane'))).slice(0, 1)).toEqual([noTree])
    expect(await problems(instead(blob('one\ntwo\n'), 'two', 'owt'))).toEqual([
      ['missing', expect.any(Number), expect.stringContaining('the content of "a.txt" in this')],
      foreign,
    ])
    expect(await problems(without(blob('same\n')))).toEqual([
      ['missing', seq, expect.stringContaining('the content of "sub/deep/same" in this')],
    ])
    const content = Buffer.from('more')
    const added = { id: objectId('blob', content), type: 'blob' as const, content }
    expect(await problems((all) => [...all, added])).toContainEqual(foreign)
    const [{ path = '' } = {}] = parts.filter((part) => packOf(part.path) !== null)
    const damaged = replaced(parts, path, contentOf(parts, path).subarray(1))
    const { findings } = await verified(damaged)
    expect(findings).toContainEqual(
      expect.objectContaining({
        problem: 'changed',
        where: path,
        message: expect.stringContaining('pack'),
      }),
    )
    const gone = parts.filter((part) => part.path !== path)
    expect((await verified(gone)).findings).toContainEqual(
      expect.objectContaining({ problem: 'missing', where: path }),
    )
  })

  test('are imported as far as they were exported, and an import is exported and imported again', async ({
    used: { server, runId },
    site,
  }) => {
    const first = await exportTo(site, server, runId)
    const whole = await exportTo(site, server, runId, '--files')
    const changes = await changesOf(server, runId)
    const withoutSecret = ({ files }: RunChanges) => files.filter(({ path }) => path !== 'conf')
    const file = (from: SiteServer, path: string) => from.get(`/api/runs/${runId}/files/${path}`)
    const into = (name: string) => ['--data-dir', site.path(name)]

    await printed(['import', first.file, ...into('other')])
    await printed(['import', first.file, ...into('other')])
    await printed(['verify', ...into('other')])
    const other = await site.serve('other')
    const there = await changesOf(other, runId)
    expect(withoutSecret(there)).toEqual(withoutSecret(changes))
    expect(there.files).toContainEqual(
      expect.objectContaining({ path: 'conf', withheld: 'not_kept' }),
    )
    expect((await file(other, 'a.txt')).text).toBe('one\ntwo\n')
    expect((await file(other, 'old')).status).toBe(404)
    const again = await exportTo(site, other, runId, '--files')
    expect(await verified(again.parts)).toMatchObject({
      ...{ holds: true, findings: [], redacted: { redactions: [] } },
      files: { contents: 5, absent: { masked: 0, not_kept: 3, not_exported: 0 } },
    })
    await printed(['import', again.file, ...into('third')])
    await printed(['verify', ...into('third')])
    const third = await site.serve('third')
    expect(withoutSecret(await changesOf(third, runId))).toEqual(withoutSecret(changes))
    await Promise.all([other.stop(), third.stop()])

    await printed(['import', whole.file, ...into('other')])
    await printed(['verify', ...into('other')])
    const more = await site.serve('other')
    expect((await file(more, 'old')).text).toBe('stays\n')
    expect(
      (await verified((await exportTo(site, more, runId, '--files')).parts)).files,
    ).toMatchObject({
      contents: 7,
      absent: { not_kept: 1 },
    })
  })

  test('of two runs that share packs are imported beside each other', async ({ site }) => {
    for (const name of ['project', 'twin']) {
      await site.project(name)
      await site.write(`${name}/old`, 'stays\n')
    }
    const { server, runId } = await site.used([bash('echo more >> old'), bash('touch done')])
    const second = await server.start('twin')
    await server.untilStatus(second, 'achieved')
    const into = ['--data-dir', site.path('other')]
    const packs: string[][] = []
    for (const run of [runId, second]) {
      const { parts, file } = await exportTo(site, server, run)
      packs.push(parts.flatMap(({ path }) => packOf(path) ?? []))
      await printed(['import', file, ...into])
    }
    expect(packs[0]?.[0]).toBe(packs[1]?.[0])
    await printed(['verify', ...into])
    const other = await site.serve('other')
    for (const run of [runId, second]) {
      const { parts } = await exportTo(site, other, run, '--files')
      expect(await verified(parts)).toMatchObject({ holds: true, findings: [] })
      expect((await changesOf(other, run)).files).toEqual((await changesOf(server, run)).files)
    }
    await other.stop()
    await printed(['import', (await exportTo(site, server, second, '--files')).file, ...into])
    await printed(['verify', ...into])
  })

  test('hold no text that was redacted, also after another import', async ({ site }) => {
    await site.project()
    const script = [
      bash(
        `printf 'orchid-4711 is here\\n' > note; mkdir -p 'sub/is orchid-4711'; touch 'sub/is orchid-4711/x'; cat note;
         mkdir list; (cd list; echo '*.tmp' > .gitignore; touch 'orchid-4711".tmp' ${TOKEN}.tmp; for i in $(seq 250); do touch $i.tmp; done)`,
      ),
      bash('touch done'),
    ]
    const { server, runId } = await site.used(script)
    const early = await exportTo(site, server, runId)
    const listsIn = (parts: readonly Part[]) =>
      parts.filter(
        ({ path, content }) => path.startsWith('artifacts/') && content.includes('250.tmp'),
      )
    const lists = listsIn(early.parts).map(({ content }) => content.toString())
    expect(lists).toEqual([expect.stringContaining('orchid-4711\\".tmp')])
    expect(lists.join()).toContain('[masked:')
    await printed(['import', early.file, '--data-dir', site.path('other')])
    await printed(['import', early.file, '--data-dir', site.path('another')])
    // Another run has the same files, and no pack of the first.
    const second = await server.start('project', { instructions: 'Look' })
    await server.untilStatus(second, 'achieved')
    const { body } = await server.get(`/api/runs/${runId}/events?kinds=tool_result`)
    const results = body as unknown as { seq: number; payload: { output: string } }[]
    const { seq } = results.find(({ payload }) => payload.output.includes('orchid')) ?? {}
    const request = { seq, pointer: '/output', reason: 'a name', secret: 'orchid-4711' }
    const another = await site.serve('another')
    for (const each of [server, another]) {
      const redacted = await each.post(`/api/runs/${runId}/redact`, request)
      expect(redacted.body).toMatchObject({ objects: 2 })
    }
    expect((await another.get(`/api/runs/${runId}/files/note`)).status).toBe(404)
    expect(await verified((await exportTo(site, another, runId)).parts)).toMatchObject({
      ...{ holds: true, findings: [] },
      files: { absent: { redacted: 2 } },
    })
    await another.stop()
    // What a later run finds in the project is not kept again.
    const third = await server.start('project', { instructions: 'Look again' })
    await server.untilStatus(third, 'achieved')
    for (const run of [runId, second, third]) {
      const { parts, file } = await exportTo(site, server, run, '--files')
      expect(listsIn(parts)).toEqual([])
      for (const { path, content } of parts) {
        if (packOf(path) === null) continue
        const texts = readPack(content)
          ._unsafeUnwrap()
          .map((one) => one.content.toString())
        expect(texts.join()).not.toContain('orchid')
      }
      const report = await verified(parts)
      expect(report).toMatchObject({ holds: true, findings: [] })
      expect(report.files?.absent.redacted).toBeGreaterThan(0)
      if (run !== runId) continue
      await printed(['import', file, '--data-dir', site.path('other')])
    }
    const other = await site.serve('other')
    expect((await other.get(`/api/runs/${runId}/files/note`)).status).toBe(404)
    await other.stop()
    await printed(['verify', '--data-dir', site.path('other')])
    await printed(['import', early.file, '--data-dir', site.path('other')])
    const again = await site.serve('other')
    expect((await again.get(`/api/runs/${runId}/files/note`)).status).toBe(404)
    await again.stop()
    await printed(['verify', '--data-dir', site.path('other')])
    await printed(['verify', '--data-dir', site.path('another')])
    const folders = ['other', 'another', 'data'].map((name) => site.path(name, 'artifacts'))
    const kept = execFileSync('find', [...folders, '-type', 'f'])
    for (const path of kept.toString().trim().split('\n')) {
      const file = await readFile(path)
      const objects = readPack(file).unwrapOr([])
      const texts = [file, ...objects.map(({ content }) => content)].map(String)
      expect(texts.join()).not.toContain('orchid')
    }
  })

  test.skipIf(isMissing('git'))('are in packs that any git reads', async ({ site }) => {
    await site.project()
    const { server, runId } = await site.used(SCRIPT)
    const { parts } = await exportTo(site, server, runId, '--files')
    await mkdir(site.path('repository'))
    const cwd = site.path('repository')
    const git = (...args: string[]) => execFileSync('git', args, { cwd }).toString()
    git('init', '-q', '--object-format=sha256')
    for (const { path, content } of parts) {
      if (packOf(path) === null) continue
      await writeFile(site.path('one.pack'), content)
      execFileSync('git', ['unpack-objects', '-q'], { cwd, input: content })
    }
    const { to } = await changesOf(server, runId)
    expect(git('ls-tree', '-r', '--name-only', to.tree).split('\n')).toContain('sub/deep/same')
    expect(git('cat-file', 'blob', `${to.tree}:a.txt`)).toBe('one\ntwo\n')
  })
})

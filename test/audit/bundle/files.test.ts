import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { RunChanges } from '../../../src/api/changes.ts'
import { MANIFEST, Manifest, packOf } from '../../../src/audit/bundle/bundle-format.ts'
import { unpacked } from '../../../src/audit/bundle/unpack.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import type { GitObject } from '../../../src/lib/git-objects.ts'
import { readPack } from '../../../src/lib/git-pack.ts'
import { sha256 } from '../../../src/lib/sha256.ts'
import { isMissing } from '../../support/missing.ts'
import { bash, printed, Site, type SiteServer } from '../../support/site.ts'
import { test as base } from '../../support/test.ts'
import { inPython } from '../python.ts'
import { archived, collected, contentOf, type Part, partsOf } from '../support.ts'

const TOKEN = `ghp_${'a1B2'.repeat(9)}`
const SCRIPT = [
  bash(`printf 'one\\n' > a.txt; mkdir -p sub/deep; echo same > sub/deep/same; echo x > sub/b`),
  bash(`echo two >> a.txt; printf 'token ${TOKEN}\\n' > conf; rm sub/b`),
  bash('touch done'),
]

/** `used` is a server with two runs of this script in projects that are alike, for all tests that only read. */
const test = base.extend('used', { scope: 'file' }, async ({ serverOptions: _ }, { onCleanup }) => {
  const site = await Site.open()
  onCleanup(() => site.close())
  for (const name of ['project', 'twin']) {
    await site.project(name)
    await site.write(`${name}/old`, 'stays\n')
  }
  const used = await site.used(SCRIPT)
  const twin = await used.server.start('twin')
  await used.server.untilStatus(twin, 'achieved')
  return { ...used, twin, project: site.path('project') }
})

const objectsIn = (parts: readonly Part[]): GitObject[] =>
  parts
    .filter(({ path }) => packOf(path) !== null)
    .flatMap(({ content }) => readPack(content)._unsafeUnwrap())
const textsIn = (parts: readonly Part[]): string[] =>
  objectsIn(parts)
    .filter(({ type }) => type === 'blob')
    .map(({ content }) => content.toString())
    .toSorted()

/** What both verifiers say of each export. */
async function verified(...exports: readonly (readonly Part[])[]) {
  const reports = await Promise.all(exports.map((parts) => verifyBundle(partsOf(parts))))
  if (isMissing('python3')) return reports
  const archives = exports.map((parts) => {
    const manifest = Manifest.parse(JSON.parse(contentOf(parts, MANIFEST).toString()))
    return archived(parts, new Date(manifest.exported_at))
  })
  const answers = await inPython(await Promise.all(archives))
  for (const [index, { holds, first_bad_seq }] of reports.entries()) {
    expect(answers[index]).toMatchObject({ holds, first_bad_seq })
  }
  return reports
}

async function exportTo(site: Site, server: SiteServer, runId: string, ...options: string[]) {
  const file = site.path(`${randomUUID()}.tar.gz`)
  const done = await server.retrai('export', runId, file, ...options)
  expect(done).toMatchObject({ code: 0 })
  return { file, parts: await collected(unpacked(createReadStream(file))) }
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
    const whole = await exportTo(site, server, runId, '--files')
    expect(textsIn(whole.parts)).toEqual([...differ, config, 'stays\n'].toSorted())
    const [report, ofWhole] = await verified(parts, whole.parts)
    expect(report).toMatchObject({ holds: true, findings: [] })
    const none = { redacted: 0, not_kept: 0 }
    const withheld = [{ path: 'conf' }]
    expect(report?.files).toMatchObject({
      snapshots: 4,
      contents: 5,
      first_and_last: false,
      withheld,
      absent: { ...none, masked: 1, not_exported: 2 },
    })
    const lines = await printed(['verify', file])
    expect(lines).toContain('Files: 4 snapshots of the files, recomputed from')
    expect(lines).toContain('Withheld: conf')

    expect(ofWhole?.files).toMatchObject({
      first_and_last: true,
      contents: 7,
      withheld,
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

  test('are imported as far as they were exported, beside a run that shares packs, and an import is exported and imported again', async ({
    used: { server, runId, twin },
    site,
  }) => {
    const all: { readonly file: string; readonly parts: Part[] }[] = []
    const wholes: string[] = []
    for (const run of [runId, twin]) {
      all.push(await exportTo(site, server, run))
      wholes.push((await exportTo(site, server, run, '--files')).file)
    }
    const [ofFirst, ofTwin] = all.map(({ parts }) =>
      parts.flatMap(({ path }) => packOf(path) ?? []),
    )
    expect(ofFirst?.[0]).toBe(ofTwin?.[0])
    const withoutSecret = ({ files }: RunChanges) => files.filter(({ path }) => path !== 'conf')
    const file = (from: SiteServer, path: string) => from.get(`/api/runs/${runId}/files/${path}`)
    const importInto = async (name: string, ...files: readonly string[]) => {
      for (const each of files) await printed(['import', each, '--data-dir', site.path(name)])
      await printed(['verify', '--data-dir', site.path(name)])
    }

    const exports = all.map((each) => each.file)
    await importInto('other', ...exports)
    const other = await site.serve('other')
    const again: typeof all = []
    for (const run of [runId, twin]) {
      const there = await changesOf(other, run)
      expect(withoutSecret(there)).toEqual(withoutSecret(await changesOf(server, run)))
      expect(there.files).toContainEqual(
        expect.objectContaining({ path: 'conf', withheld: 'not_kept' }),
      )
      again.push(await exportTo(site, other, run, '--files'))
    }
    expect((await file(other, 'a.txt')).text).toBe('one\ntwo\n')
    expect((await file(other, 'old')).status).toBe(404)
    for (const report of await verified(...again.map(({ parts }) => parts))) {
      expect(report).toMatchObject({
        holds: true,
        findings: [],
        redacted: { redactions: [] },
        files: { contents: 5, absent: { masked: 0, not_kept: 3, not_exported: 0 } },
      })
    }
    await other.stop()
    await importInto('third', ...again.map((each) => each.file))

    await importInto('fourth', ...wholes)
    const more = await site.serve('fourth')
    expect((await file(more, 'old')).text).toBe('stays\n')
    const [last] = await verified((await exportTo(site, more, runId, '--files')).parts)
    expect(last?.files).toMatchObject({ contents: 7, absent: { not_kept: 1 } })
  })

  test('hold no text that was redacted, also after the import of an earlier export', async ({
    site,
  }) => {
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
    await printed(['import', early.file, '--data-dir', site.path('another')])
    // Another run has the same files, and no pack of the first.
    const second = await server.start('project', { instructions: 'Look' })
    await server.untilStatus(second, 'achieved')
    const earlySecond = await exportTo(site, server, second, '--files')
    const { body } = await server.get(`/api/runs/${runId}/events?kinds=tool_result`)
    const results = body as unknown as { seq: number; payload: { output: string } }[]
    const { seq } = results.find(({ payload }) => payload.output.includes('orchid')) ?? {}
    const request = { seq, pointer: '/output', reason: 'a name', secret: 'orchid-4711' }
    const another = await site.serve('another')
    // A file, a folder, and the list of what each of its runs left out.
    for (const [each, objects] of [
      [server, 4],
      [another, 3],
    ] as const) {
      const redacted = await each.post(`/api/runs/${runId}/redact`, request)
      expect(redacted.body).toMatchObject({ objects })
    }
    expect((await another.get(`/api/runs/${runId}/files/note`)).status).toBe(404)
    const [imported] = await verified((await exportTo(site, another, runId)).parts)
    expect(imported).toMatchObject({
      holds: true,
      findings: [],
      files: { absent: { redacted: 2 } },
    })
    await another.stop()
    // What a later run finds in the project is not kept again.
    const third = await server.start('project', { instructions: 'Look again' })
    await server.untilStatus(third, 'achieved')
    const later: { readonly file: string; readonly parts: Part[] }[] = []
    for (const run of [runId, second, third]) {
      later.push(await exportTo(site, server, run, '--files'))
    }
    for (const { parts } of later) {
      expect(listsIn(parts)).toEqual([])
      expect(
        objectsIn(parts)
          .map(({ content }) => content.toString())
          .join(),
      ).not.toContain('orchid')
    }
    for (const report of await verified(...later.map(({ parts }) => parts))) {
      expect(report).toMatchObject({ holds: true, findings: [] })
      expect(report.files?.absent.redacted).toBeGreaterThan(0)
    }
    await printed(['import', later[0]?.file ?? '', '--data-dir', site.path('other')])
    const other = await site.serve('other')
    expect((await other.get(`/api/runs/${runId}/files/note`)).status).toBe(404)
    await other.stop()
    await printed(['verify', '--data-dir', site.path('other')])
    await printed(['verify', '--data-dir', site.path('another')])
    const textsBelow = async (folder: string, isPack = false) => {
      const found = execFileSync('find', [site.path(folder, 'artifacts'), '-type', 'f'])
      const files = await Promise.all(
        found
          .toString()
          .trim()
          .split('\n')
          .map((path) => readFile(path)),
      )
      const objects = files.flatMap((file) => readPack(file).unwrapOr([]))
      return [...(isPack ? [] : files), ...objects.map(({ content }) => content)].join('\n')
    }
    for (const folder of ['other', 'another', 'data']) {
      expect(await textsBelow(folder)).not.toContain('orchid')
    }
    // What was redacted there does not come back with the files of another run.
    await printed(['import', earlySecond.file, '--data-dir', site.path('another')])
    expect(await textsBelow('another', true)).not.toContain('orchid')
  })

  test.skipIf(isMissing('git'))(
    'are in packs that any git reads',
    async ({ used: { server, runId }, site }) => {
      const { parts } = await exportTo(site, server, runId, '--files')
      await mkdir(site.path('repository'))
      const cwd = site.path('repository')
      const git = (...args: string[]) => execFileSync('git', args, { cwd }).toString()
      git('init', '-q', '--object-format=sha256')
      for (const { path, content } of parts) {
        if (packOf(path) === null) continue
        execFileSync('git', ['unpack-objects', '-q'], { cwd, input: content })
      }
      const { to } = await changesOf(server, runId)
      expect(git('ls-tree', '-r', '--name-only', to.tree).split('\n')).toContain('sub/deep/same')
      expect(git('cat-file', 'blob', `${to.tree}:a.txt`)).toBe('one\ntwo\n')
    },
  )
})

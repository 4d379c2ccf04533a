import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { expect } from 'vitest'
import * as z from 'zod'
import { RunChanges } from '../../src/api/changes.ts'
import { retrai } from '../cli/support.ts'
import { bash, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'

const SCRIPT = [
  bash(
    'printf "one\\ntwo\\n" > a.txt; mkdir -p sub; echo x > sub/b; chmod +x sub/b; ln -s a.txt link',
  ),
  bash('sed -i s/two/three/ a.txt; mv sub/b c; printf "a\\0b" > binary'),
  bash('touch done'),
]

const Frames = z.array(
  z.looseObject({ seq: z.int(), kind: z.string(), payload: z.looseObject({}) }),
)

async function framesOf(server: SiteServer, runId: string, kind: string) {
  const { body } = await server.get(`/api/runs/${runId}/events?kinds=${kind}&limit=5000`)
  return Frames.parse(body)
}

async function changes(server: SiteServer, runId: string, query = '') {
  const { status, body } = await server.get(`/api/runs/${runId}/changes${query}`)
  expect([status, body]).toMatchObject([200, {}])
  return RunChanges.parse(body)
}

const added = (path: string, additions: number) => ({
  path,
  status: 'added',
  additions,
  deletions: 0,
  binary: false,
})
const BINARY = { ...added('binary', 0), binary: true, size: 3 }

test('what commands did to files is recorded, served as changes, as a patch and as files, and verified', async ({
  site,
}) => {
  await site.project()
  const { server, runId } = await site.used(SCRIPT)
  const seqs = (await framesOf(server, runId, 'snapshot')).map(({ seq }) => seq)
  expect(seqs).toHaveLength(4)
  expect(seqs[0]).toBeLessThan(4)
  expect((await changes(server, runId)).files).toEqual([
    added('a.txt', 2),
    BINARY,
    { ...added('c', 1), mode: '100755' },
    added('done', 0),
    { ...added('link', 1), mode: '120000' },
  ])
  const [, second, third] = seqs
  expect((await changes(server, runId, `?from=${second}&to=${third}`)).files).toEqual([
    { path: 'a.txt', status: 'modified', additions: 1, deletions: 1, binary: false },
    BINARY,
    {
      path: 'c',
      old_path: 'sub/b',
      status: 'renamed',
      additions: 0,
      deletions: 0,
      binary: false,
      old_mode: '100755',
      mode: '100755',
    },
  ])
  const ofOne = `?from=${second}&to=${third}&path=c`
  expect((await changes(server, runId, ofOne)).files.map(({ path }) => path)).toEqual(['c'])
  const part = await server.get(`/api/runs/${runId}/changes${ofOne}&format=patch`)
  expect(part.text).toMatch(
    /^diff --git a\/sub\/b b\/c\nsimilarity.*\nrename from.*\nrename to c\n$/,
  )
  const file = (path: string) => server.get(`/api/runs/${runId}/files/${path}`)
  expect((await file(`a.txt?at=${second}`)).text).toBe('one\ntwo\n')
  expect((await file('a.txt')).text).toBe('one\nthree\n')
  expect((await file('none')).status).toBe(404)

  const patch = await server.get(`/api/runs/${runId}/changes?format=patch`)
  await site.write('copy/.retrai.yml', await readFile(site.path('project/.retrai.yml'), 'utf8'))
  const cwd = site.path('copy')
  execFileSync('git', ['init', '-q'], { cwd })
  execFileSync('git', ['apply', '--binary'], { cwd, input: patch.text })
  expect(await readFile(site.path('copy/a.txt'), 'utf8')).toBe('one\nthree\n')
  expect((await server.retrai('diff', runId)).stdout).toBe(patch.text)
  const { stdout } = await server.retrai('diff', runId, '--stat', '--from', String(second))
  expect(stdout.split('\n')).toEqual([
    'a.txt  +1 -1  ',
    'binary  +0 -0  new, binary',
    'c (was sub/b)  +0 -0  moved',
    'done  +0 -0  new',
    '4 files changed, +1 -1',
    '',
  ])
  await server.stop()
  expect(await retrai(['verify', '--data-dir', site.path('data')])).toMatchObject({ code: 0 })
})

test('a secret in a file or its name is masked, and a redacted text is in no object, of any run that had it', async ({
  site,
}) => {
  await site.project()
  const token = `ghp_${'a1B2'.repeat(9)}`
  const { server, runId } = await site.used([
    bash(
      `printf 'orchid-4711 is here\\n' > note; printf 'token ${token}\\n' > conf; cat note; touch ${token}`,
    ),
    bash('touch done'),
  ])
  const file = (path: string) => server.get(`/api/runs/${runId}/files/${path}`)
  const changeOf = async (path: string) =>
    (await changes(server, runId)).files.find((each) => each.path === path)
  expect((await file('note')).text).toBe('orchid-4711 is here\n')
  expect((await file('conf')).text).toMatch(/^token \[masked:.*\]\n$/)
  expect(await changeOf('conf')).toMatchObject({ withheld: 'masked' })
  expect(await changeOf('[masked:github-token]')).toMatchObject({ status: 'added' })
  const patch = await server.get(`/api/runs/${runId}/changes?format=patch`)
  expect(patch.text).toContain('b/[masked:github-token]')
  expect(patch.text).not.toContain(token)
  const results = await framesOf(server, runId, 'tool_result')
  const { seq } = results.find(({ payload }) => String(payload.output).includes('orchid')) ?? {}
  const request = { seq, pointer: '/output', reason: 'a name', secret: 'orchid-4711' }
  const { body } = await server.post(`/api/runs/${runId}/redact`, request)
  expect(body).toMatchObject({ objects: 1 })
  expect((await file('note')).status).toBe(404)
  expect(await changeOf('note')).toMatchObject({ withheld: 'not_kept' })
  expect((await file('conf')).status).toBe(200)
  await server.stop()
  expect(await retrai(['verify', '--data-dir', site.path('data')])).toMatchObject({ code: 0 })
})

import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { describe, expect } from 'vitest'
import { createArtifacts } from '../../src/artifacts/artifacts.ts'
import { readAcceptance } from '../../src/log/acceptance.ts'
import { cleanEnv, retrai } from '../cli/support.ts'
import { isMissing } from '../support/missing.ts'
import { bash, printed, type ServeOptions, type Site, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'

const accept = {
  files: { 'hidden/test_marigold.py': 'assert add(2, 2) == 4\n' },
  command: 'test -f done && grep -q add hidden/test_marigold.py',
}

async function hashOf(server: SiteServer, runId: string): Promise<string> {
  const { text } = await server.get(`/api/runs/${runId}/events?kinds=run_created`)
  return JSON.parse(text)[0].payload.config.accept.sha256
}

const PLACES: readonly [string, (site: Site) => Promise<ServeOptions>][] = [
  ['the data folder', async () => ({})],
  ['an EventStoreDB', async (site) => ({ store: await site.standIn() })],
]

describe.each(PLACES)('a hidden check in %s', (_, place) => {
  test('is verified, exported after the end, copied with its run, and hidden before', async ({
    site,
  }) => {
    const options = await place(site)
    const { store } = options
    const model = await site.model([bash('true'), bash('touch done')])
    const server = await site.serve('data', { ...options, model })
    const waiting = await server.start('other', { accept, hitl_enabled: true, max_iterations: 9 })
    const runId = await server.start('project', { accept, max_iterations: 9 })
    await server.untilStatus(runId, 'achieved')
    const name = await hashOf(server, runId)
    const { text } = await server.get(`/api/runs/${runId}/artifacts/${name}`)
    expect(readAcceptance(Buffer.from(text), name)._unsafeUnwrap()).toEqual(accept)
    const file = site.path('run.tar.gz')
    await printed(['export', runId, file, '--server', server.url])
    expect(gunzipSync(await readFile(file)).includes('marigold')).toBe(true)
    expect(await printed(['verify', file])).toContain('2 artifacts; the run is complete')
    const settings = cleanEnv()
    const log =
      store === undefined ? ['--data-dir', site.path('data')] : ['--store', store.connectionString]
    const early = site.path('early.tar.gz')
    await printed(['export', waiting, early, '--server', server.url])
    expect(gunzipSync(await readFile(early)).includes('marigold')).toBe(false)
    const verified = await printed(['verify', early])
    expect(verified).toContain('1 artifact; the run had not ended')
    expect(verified).toContain('Withheld until the run has ended')
    await server.stop()
    expect(await printed(['verify', ...log], settings)).toContain('The store holds.')
    const from = store?.connectionString ?? site.path('data')
    const copied = await retrai(['copy', '--from', from, '--to', site.path('copy')], cleanEnv())
    expect(copied).toMatchObject({ code: 0, stderr: '' })
    const copy = ['verify', '--data-dir', site.path('copy')]
    expect(await printed(copy)).toContain('The store holds.')
    await createArtifacts(site.path('copy', 'artifacts')).remove(name)
    if (store === undefined) {
      expect((await retrai(copy)).stdout).toMatch(`missing: its artifact ${name} is missing`)
    }
    await printed(['import', file, '--data-dir', site.path('fresh')])
    const imported = await createArtifacts(site.path('fresh', 'artifacts')).read(name)
    expect(imported && (await buffer(imported.stream)).toString()).toBe(text)
  })
})

test.skipIf(isMissing('bwrap'))(
  'no command and no tool of the agent finds a hidden check, wherever artifacts are',
  async ({ site }) => {
    const shared = site.path('project', 'artifacts')
    const folders = `/tmp /var/tmp /dev/shm /run "$HOME" ${site.folder} ${site.path('data')}`
    const look = [
      `grep -rls 'mari[g]old' ${folders}`,
      "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | grep 'mari[g]old'",
      `ls -R ${site.path('data', 'artifacts')}`,
      'echo looked',
    ].join('; ')
    const script = [bash(look), bash('touch done')]
    const env = { RETRAI_ISOLATION: 'namespaces' }
    const model = await site.model(script)
    const server = await site.serve('data', { model, env })
    const runId = await server.start('project', { accept, max_iterations: 9 })
    await server.untilStatus(runId, 'achieved')
    const name = await hashOf(server, runId)
    const { text } = await server.get(`/api/runs/${runId}/events?kinds=all`)
    expect(text).toContain('looked')
    expect(text).not.toContain('marigold')
    const { text: sent } = await server.get(`/api/runs/${runId}/conversation`)
    expect(sent).not.toContain(name)
    await server.stop()
    // A project around the artifacts would show them.
    const other = await site.serve('data', { model, env: { ...env, RETRAI_ARTIFACTS: shared } })
    const refused = await other.post('/api/runs', {
      goal: 'shell-goal',
      cwd: site.path('project'),
      model_name: 'scripted',
      accept,
    })
    expect([refused.status, refused.text]).toEqual([
      422,
      expect.stringContaining('or to its artifacts'),
    ])
  },
)

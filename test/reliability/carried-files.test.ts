import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { kindsOf, repository, sh, sums, WORK } from '../carry/support.ts'
import type { CrashPoint } from '../support/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import { bash, type Site, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'

const script = ({ turn }: { readonly turn: number }) => bash(turn === 0 ? WORK : 'touch done')

/** @param at where it dies, or a file that names that later */
async function serve(site: Site, at?: string): Promise<SiteServer> {
  const model = await site.model(script)
  return site.serve('data', { model, env: at === undefined ? {} : { RETRAI_CRASH_AT: at } })
}

/** A server with a run that has reached its goal. From then on, it dies at this point. */
async function serveUntil(site: Site, point: string, project: string, changes: object = {}) {
  const server = await serve(site, site.path('crash-at'))
  const dead = once(server.process, 'exit')
  const runId = await server.start(project, changes)
  await server.untilStatus(runId, 'achieved')
  await site.write('crash-at', point)
  return { server, dead, runId }
}

const COPYING: readonly CrashPoint[] = [
  ...(['before copy', 'after copy', 'before append of project_copied'] as const),
  ...(['after append of project_copied'] as const),
]

test.skipIf(isMissing('git')).for(COPYING)(
  'killed %s, the next start makes the copy again, or uses it',
  async (point, { site }) => {
    const project = await repository(site)
    const before = sums(project)
    const server = await serve(site, point)
    const dead = once(server.process, 'exit')
    const runId = await server.start(project, { workspace: 'copy' })
    await dead
    expect(sums(project)).toBe(before)
    const again = await serve(site)
    await again.untilStatus(runId, 'achieved')
    const kinds = await kindsOf(again, runId)
    expect(kinds.filter((kind) => kind === 'project_copied')).toHaveLength(1)
    expect(sums(project)).toBe(before)
    const copies = site.path('data-copies')
    expect(await readdir(copies)).toEqual([runId])
    expect(await readdir(join(copies, runId))).toEqual(['project'])
    expect(sh(join(copies, runId, 'project'), 'cat a.txt')).toBe('1\nuncommitted\nwork')
  },
)

const APPLYING = [
  ...(['before carry', 'after carry', 'before carry#2', 'after carry#2'] as const),
  ...(['before append of changes_applied', 'after append of changes_applied'] as const),
]

test.skipIf(isMissing('git')).for(APPLYING)(
  'killed %s, the same apply ends, and each file is whole meanwhile',
  async (point, { site }) => {
    const project = await repository(site)
    const before = sums(project)
    const { server, dead, runId } = await serveUntil(site, point, project, { workspace: 'copy' })
    const wanted = sums(site.path('data-copies', runId, 'project'))
    await server.post(`/api/runs/${runId}/apply`, { as: 'files' }).catch(() => {})
    await dead
    const between = new Set([...before.split('\n'), ...wanted.split('\n')])
    expect(
      sums(project)
        .split('\n')
        .filter((line) => !between.has(line)),
    ).toEqual([])
    const again = await serve(site)
    await again.untilReady()
    const done = await again.post(`/api/runs/${runId}/apply`, { as: 'files' })
    expect(done.status).toBe(200)
    expect(sums(project)).toBe(wanted)
    await expect.poll(() => readdir(site.path('data-copies'))).toEqual([])
    expect((await again.get(`/api/runs/${runId}`)).body.workspace).toMatchObject({
      copy: 'discarded',
    })
  },
)

const BACK = ['before carry#2', 'after carry#2', 'before append of files_rolled_back'] as const

test.skipIf(isMissing('git')).for(BACK)(
  'killed %s, the same rollback ends',
  async (point, { site }) => {
    const project = await repository(site)
    const before = sums(project)
    const { server, dead, runId } = await serveUntil(site, point, project)
    await server.post(`/api/runs/${runId}/rollback`, { to: 0 }).catch(() => {})
    await dead
    const again = await serve(site)
    await again.untilReady()
    expect((await again.post(`/api/runs/${runId}/rollback`, { to: 0 })).status).toBe(200)
    expect(sums(project)).toBe(before)
    const kinds = await kindsOf(again, runId)
    expect(kinds.filter((kind) => kind === 'files_rolled_back')).toHaveLength(1)
  },
)

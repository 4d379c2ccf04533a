import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { expect } from 'vitest'
import { kindsOf, repository, sh, sums, WORK } from '../carry/support.ts'
import type { CrashPoint } from '../support/crash-points.ts'
import { isMissing } from '../support/missing.ts'
import { bash, type Site, type SiteServer } from '../support/site.ts'
import { test } from '../support/test.ts'

const script = ({ turn }: { readonly turn: number }) => bash(turn === 0 ? WORK : 'touch done')

/** A server that dies when it is at all points that the file `crash-at` names. */
async function serve(site: Site) {
  const model = await site.model(script)
  const server = await site.serve('data', {
    model,
    env: { RETRAI_CRASH_AT: site.path('crash-at') },
  })
  return { server, dead: once(server.process, 'exit') }
}

type At = CrashPoint | `${CrashPoint}#${number}`
/** A repository with a run that is to be killed at a point, and the content of all its files. */
type Killed = { readonly at: At; readonly project: string; readonly before: string }

async function repositories(site: Site, points: readonly At[]): Promise<Killed[]> {
  const projects = await Promise.all(points.map((_, n) => repository(site, `project-${n}`)))
  return projects.map((project, n) => ({ at: points[n] as At, project, before: sums(project) }))
}

/** From now on, the server dies when each run is at its point. */
const killAt = (site: Site, killed: readonly Killed[]) =>
  site.write('crash-at', killed.map(({ at, project }) => `${at} in ${project}`).join('\n'))

/** Right before an append, all is as right after the step before it. */
const COPYING: readonly At[] = ['before copy', 'after copy', 'after append of project_copied']

test.skipIf(isMissing('git'))(
  'a server that starts again makes a copy again, or uses it',
  async ({ site }) => {
    const copying = await repositories(site, COPYING)
    await killAt(site, copying)
    const { server, dead } = await serve(site)
    const runIds = await Promise.all(
      copying.map(({ project }) => server.start(project, { workspace: 'copy' })),
    )
    await dead
    await site.write('crash-at', '')
    const { server: again } = await serve(site)
    for (const [n, { at, project, before }] of copying.entries()) {
      const runId = runIds[n] ?? ''
      await again.untilStatus(runId, 'achieved')
      const kinds = await kindsOf(again, runId)
      expect(
        kinds.filter((kind) => kind === 'project_copied'),
        at,
      ).toHaveLength(1)
      expect(sums(project), at).toBe(before)
      const copy = site.path('data-copies', runId)
      expect(await readdir(copy), at).toEqual([basename(project)])
      expect(sh(join(copy, basename(project)), 'cat a.txt'), at).toBe('1\nuncommitted\nwork')
    }
    expect((await readdir(site.path('data-copies'))).toSorted()).toEqual(runIds.toSorted())
  },
)

const APPLYING: readonly At[] = [
  'before carry',
  'after carry',
  'after carry#2',
  'after append of changes_applied',
]
const BACK: readonly At[] = ['before carry#2', 'after carry#2', 'after append of files_rolled_back']
const DISCARDING: readonly At[] = [
  'before append of copy_discarded',
  'after append of copy_discarded',
]

const apply = (server: SiteServer, runId: string) =>
  server.post(`/api/runs/${runId}/apply`, { as: 'files' })
const rollBack = (server: SiteServer, runId: string) =>
  server.post(`/api/runs/${runId}/rollback`, { to: 0 })
const discard = (server: SiteServer, runId: string) => server.post(`/api/runs/${runId}/discard`, {})
const CARRIES = [
  ...APPLYING.map((at) => ({ at, carry: apply })),
  ...BACK.map((at) => ({ at, carry: rollBack })),
  ...DISCARDING.map((at) => ({ at, carry: discard })),
]

test.skipIf(isMissing('git'))(
  'after a kill, the same apply, rollback or discard ends, and each file is whole meanwhile',
  async ({ site }) => {
    const { server, dead } = await serve(site)
    const killed = await repositories(
      site,
      CARRIES.map(({ at }) => at),
    )
    const runs = await Promise.all(
      killed.map(async (one, n) => {
        const { carry } = CARRIES[n] ?? { carry: apply }
        const runId = await server.start(
          one.project,
          carry === rollBack ? {} : { workspace: 'copy' },
        )
        await server.untilStatus(runId, 'achieved')
        const copy = site.path('data-copies', runId, basename(one.project))
        const wanted = carry === apply ? sums(copy) : one.before
        return { ...one, runId, wanted, carry, was: sums(one.project) }
      }),
    )
    await killAt(site, killed)
    await Promise.all(runs.map(({ carry, runId }) => carry(server, runId).catch(() => {})))
    await dead
    await site.write('crash-at', '')
    const { server: again } = await serve(site)
    await again.untilReady()
    for (const { at, project, runId, wanted, was, carry } of runs) {
      const between = new Set([...was.split('\n'), ...wanted.split('\n')])
      const lines = sums(project).split('\n')
      expect(
        lines.filter((line) => !between.has(line)),
        at,
      ).toEqual([])
      // What was recorded was done: the copy is gone.
      const isGone = at === 'after append of copy_discarded'
      expect((await carry(again, runId)).status, at).toBe(isGone ? 409 : 200)
      expect(sums(project), at).toBe(wanted)
      if (carry === rollBack) {
        const kinds = await kindsOf(again, runId)
        expect(
          kinds.filter((kind) => kind === 'files_rolled_back'),
          at,
        ).toHaveLength(at === 'after append of files_rolled_back' ? 2 : 1)
        continue
      }
      const { workspace } = (await again.get(`/api/runs/${runId}`)).body
      expect(workspace, at).toMatchObject({ copy: 'discarded' })
    }
    await expect.poll(() => readdir(site.path('data-copies'))).toEqual([])
  },
)

import { existsSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import * as z from 'zod'
import { PublishedKey } from '../../src/api/audit.ts'
import { statementIn } from '../support/in-toto.ts'
import { isMissing } from '../support/missing.ts'
import { bash, printed, Site } from '../support/site.ts'
import { test as base } from '../support/test.ts'
import { carried, kindsOf, recordOf, repository, sh, sums, WORK, worked } from './support.ts'

/** What the model does in a project, by its name. */
const STEPS = {
  rolled: [bash('echo one >a.txt; echo x >x'), bash('echo two >a.txt; touch done')],
  large: [bash('head -c 6000000 /dev/zero >result; touch done')],
  idle: [{ text: 'Done.' }],
}

/** `test` with `shared`: a server for most tests of this file, whose model does `STEPS` or `WORK`. */
const test = base.extend('shared', { scope: 'file' }, async ({ serverOptions: _ }, on) => {
  const site = await Site.open()
  on.onCleanup(() => site.close())
  const model = await site.model(({ turn, messages }) => {
    const isIn = ([name]: readonly [string, unknown]) => messages[0]?.content.includes(`/${name}.`)
    const [, steps] = Object.entries(STEPS).find(isIn) ?? []
    return steps === undefined ? bash(WORK) : (steps[turn] ?? {})
  })
  return { site, server: await site.serve('data', { model }) }
})

const needsGit = test.skipIf(isMissing('git'))

needsGit(
  'a run works in a copy, and its changes are applied',
  async ({ shared: { site, server } }) => {
    const { project, before, runId, run } = await worked(site, server, 'applied')
    expect(sums(project)).toBe(before)
    const copy = site.path('data-copies', runId, 'applied')
    expect(run.workspace).toEqual({ mode: 'copy', folder: copy, copy_of: project, copy: 'made' })
    expect(run.cwd).toBe(copy)
    expect(sh(copy, 'cat node_modules/x/index.js build.log; git log --oneline | wc -l')).toBe(
      'lib\nnoise\n1',
    )
    expect((await kindsOf(server, runId)).slice(0, 4)).toEqual([
      'run_created',
      'run_claimed',
      'project_copied',
      'step_start',
    ])
    const files = carried(
      'write a.txt',
      'write done',
      'write fresh/file',
      'delete gone.txt',
      'mode sub/deep',
    )
    const apply = (how: object) => server.post(`/api/runs/${runId}/apply`, { as: 'files', ...how })
    const shown = await apply({ dry_run: true })
    expect(shown.body).toEqual({ files, not_carried: ['build.log', 'node_modules'] })

    await writeFile(join(project, 'a.txt'), 'theirs\n')
    await writeFile(join(project, 'done'), 'theirs\n')
    const theirs = sums(project)
    const conflicts = await apply({ dry_run: true })
    expect(conflicts.status).toBe(200)
    const named = (conflicts.body.files as { path: string; conflict?: string }[]).filter(
      ({ conflict }) => conflict !== undefined,
    )
    expect(named.map(({ path }) => path)).toEqual(['a.txt', 'done'])
    const refused = await apply({})
    expect(refused.status).toBe(409)
    expect(refused.body.detail).toContain('because of: a.txt, done. Somebody has changed it since')
    expect((refused.body.errors as { field: string }[]).map(({ field }) => field)).toEqual([
      'a.txt',
      'done',
    ])
    expect(sums(project)).toBe(theirs)
    await rm(join(project, 'done'))
    await writeFile(join(project, 'a.txt'), '1\nuncommitted\n')

    const git = sums(join(project, '.git'))
    const done = await apply({ reason: 'Good' })
    expect(done.body).toMatchObject({ files, seq: expect.any(Number) })
    expect(sums(join(project, '.git'))).toBe(git)
    expect(sh(project, 'cat a.txt fresh/file; test -x sub/deep; ls gone.txt 2>&1 || true')).toMatch(
      /^1\nuncommitted\nwork\nmade\nls: /,
    )
    expect(await recordOf(server, runId, 'changes_applied')).toMatchObject({
      as: 'files',
      count: 5,
      files,
      reason: 'Good',
    })
    expect((await kindsOf(server, runId)).slice(-3)).toEqual([
      'run_end',
      'changes_applied',
      'copy_discarded',
    ])
    expect(existsSync(dirname(copy))).toBe(false)
    expect((await server.get(`/api/runs/${runId}`)).body.workspace).toMatchObject({
      copy: 'discarded',
    })
    const back = await server.post(`/api/runs/${runId}/rollback`, { to: 0 })
    expect(back.body.title).toBe('No copy')
    // From the objects alone, and nothing is left to do.
    expect((await apply({})).body).toMatchObject({ files: [] })
  },
)

needsGit(
  'as a patch and as a branch, nothing of the project changes but one ref',
  async ({ shared: { site, server } }) => {
    const { project, before, runId, run } = await worked(site, server, 'branched', {
      instructions: 'Fix it\nplease',
      on_tampering: 'report',
    })
    const apply = (how: object) => server.post(`/api/runs/${runId}/apply`, how)
    const patch = await apply({ as: 'patch' })
    expect(patch.body).toMatchObject({
      patch: expect.stringContaining('+work'),
      seq: expect.any(Number),
    })
    expect(sums(project)).toBe(before)
    const copied = site.path('patched')
    sh(site.folder, 'cp -a branched patched')
    await writeFile(join(copied, 'p'), String(patch.body.patch))
    sh(copied, 'git apply --binary p; test -f done; ! test -e gone.txt')

    // HEAD has not the uncommitted line next to which the run has written.
    const inWay = await apply({ as: 'branch' })
    expect(inWay).toMatchObject({ status: 409, body: { errors: [{ field: 'a.txt' }] } })
    expect(sums(project)).toBe(before)
    sh(project, 'git commit -qam two')
    const rest = `-path ./.git/objects -prune -o -path ./.git/refs/heads/retrai -prune -o`
    const committed = sums(project, rest)
    const look = await apply({ as: 'branch', dry_run: true })
    expect(look.body.files).not.toContainEqual(
      expect.objectContaining({ conflict: expect.anything() }),
    )
    const made = await apply({ as: 'branch' })
    expect(made.body).toMatchObject({
      branch: `retrai/${runId}`,
      commit: expect.stringMatching(/^[0-9a-f]{40}$/),
    })
    expect(sums(project, rest)).toBe(committed)
    expect(sh(project, `git log -1 --format=%P retrai/${runId}`)).toBe(
      sh(project, 'git rev-parse HEAD'),
    )
    const trailers = `Assisted-by: retrAI:${String(run.model_name)}\nRun: ${runId}`
    expect(sh(project, `git log -1 --format=%B retrai/${runId}`)).toBe(`Fix it\n\n${trailers}`)
    const parse = 'git interpret-trailers --parse'
    expect(sh(project, `git log -1 --format=%B retrai/${runId} | ${parse}`)).toBe(trailers)
    const stated = await server.get(`/api/runs/${runId}/export?format=in-toto`)
    const { tree } = await recordOf(server, runId, 'snapshot')
    const { keys } = z
      .object({ keys: z.array(PublishedKey) })
      .parse((await server.get('/api/keys')).body)
    const pem = Object.fromEntries(keys.map((key) => [key.fingerprint, key.public_key]))
    const { subject, predicate } = statementIn(stated.text, pem)
    expect(subject).toEqual([
      { name: 'files', digest: { gitTree: tree } },
      { name: `retrai/${runId}`, digest: { gitCommit: made.body.commit } },
    ])
    expect(predicate.result).toBe('PASSED')
    expect(sh(project, `git diff --name-status main retrai/${runId}`)).toBe(
      'M\ta.txt\nA\tdone\nA\tfresh/file\nD\tgone.txt\nM\tsub/deep',
    )
    expect(sh(project, 'git fsck --no-dangling; git status --short')).toBe('')
    expect((await apply({ as: 'branch' })).status).toBe(409)
    expect((await apply({ as: 'branch', branch: '..' })).status).toBe(409)
    expect(await kindsOf(server, runId)).not.toContain('copy_discarded')
    const dropped = await server.post(`/api/runs/${runId}/discard`, { reason: 'In the branch' })
    expect(dropped.body).toEqual({ run_id: runId, status: 'achieved' })
    expect(existsSync(site.path('data-copies', runId))).toBe(false)
    expect((await server.post(`/api/runs/${runId}/discard`, {})).status).toBe(409)
  },
)

needsGit(
  'a run is rolled back, again and again, and never over the work of people',
  async ({ shared: { site, server } }) => {
    const project = await repository(site, 'rolled')
    const runId = await server.start(project, { on_tampering: 'off' })
    await server.untilStatus(runId, 'achieved')
    const { text } = await server.get(`/api/runs/${runId}/events?kinds=snapshot`)
    const [first, second] = JSON.parse(text).map(({ seq }: { seq: number }) => seq)
    const back = (how: object) => server.post(`/api/runs/${runId}/rollback`, how)
    const git = sums(join(project, '.git'))
    await writeFile(join(project, 'untracked'), 'by a person')
    expect((await back({ to: 999 })).status).toBe(404)
    expect((await back({ to: second, dry_run: true })).body.files).toEqual(
      carried('write a.txt', 'delete done'),
    )
    expect((await back({ to: second })).status).toBe(200)
    expect(sh(project, 'cat a.txt x untracked; ls')).toMatch(/^one\nx\nby a person/)
    expect((await back({ to: first })).body.files).toEqual(carried('write a.txt', 'delete x'))
    expect(sh(project, 'cat a.txt untracked')).toBe('1\nuncommitted\nby a person')
    const records = await kindsOf(server, runId)
    expect(records.slice(-3)).toEqual(['run_end', 'files_rolled_back', 'files_rolled_back'])
    // And forward, to the end.
    const last = JSON.parse(text).at(-1).seq
    expect((await back({ to: last })).body.files).toHaveLength(3)
    await writeFile(join(project, 'a.txt'), 'theirs')
    const theirs = sums(project)
    expect((await back({ to: first })).status).toBe(409)
    expect(sums(project)).toBe(theirs)
    expect(sums(join(project, '.git'))).toBe(git)
    const file = site.path('run.tar.gz')
    await printed(['export', runId, file, '--server', server.url])
    expect(await printed(['verify', file])).toContain('the run is complete')
  },
)

test('what a run did is not applied while another one continues it in its copy', async ({
  site,
}) => {
  const later = site.path('later')
  const model = await site.model(({ messages }) =>
    messages.some(({ content }) => content.includes('More'))
      ? bash(`until test -e ${later}; do sleep 0.1; done; echo more >more`)
      : bash(WORK),
  )
  const server = await site.serve('data', { model })
  const { project, before, runId } = await worked(site, server, 'continued')
  const more = await server.post(`/api/runs/${runId}/messages`, { text: 'More' })
  const apply = () => server.post(`/api/runs/${runId}/apply`, { as: 'files' })
  expect(await apply()).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining(String(more.body.run_id)) },
  })
  expect(sums(project)).toBe(before)
  await writeFile(later, '')
  await server.untilStatus(String(more.body.run_id), 'achieved')
  expect(existsSync(site.path('data-copies', runId, 'continued', 'more'))).toBe(true)
  expect((await apply()).status).toBe(200)
})

test('a copy with a file that no snapshot holds stays after its changes were applied', async ({
  shared: { site, server },
}) => {
  const { project, runId } = await worked(site, server, 'large')
  const { body } = await server.post(`/api/runs/${runId}/apply`, { as: 'files' })
  expect(body).toMatchObject({
    files: [{ path: 'done' }],
    not_carried: expect.arrayContaining(['result']),
  })
  expect(existsSync(join(project, 'done'))).toBe(true)
  expect(existsSync(site.path('data-copies', runId, 'large', 'result'))).toBe(true)
  expect((await kindsOf(server, runId)).at(-1)).toBe('changes_applied')
})

needsGit('no branch is made if no file differs', async ({ shared: { site, server } }) => {
  const task = { goal: 'instructions', instructions: 'Look.' }
  const { runId } = await worked(site, server, 'idle', task)
  const { status, body } = await server.post(`/api/runs/${runId}/apply`, { as: 'branch' })
  expect([status, body.detail]).toEqual([409, 'No file differs, so there is no branch.'])
})

test('the next start removes copies that no run has', async ({ site }) => {
  const server = await site.serve('data', { model: await site.model([bash(WORK)]) })
  const { runId } = await worked(site, server, 'project')
  await server.stop()
  const copies = site.path('data-copies')
  sh(site.folder, 'mkdir -p data-copies/4f6f3a52-0000-4000-8000-000000000000/x')
  expect(await readdir(copies)).toHaveLength(2)
  const again = await site.serve('data')
  await again.untilReady()
  await expect.poll(() => readdir(copies)).toEqual([runId])
})

test('a run says what is wrong with the place of its copy', async ({ site }) => {
  await writeFile(site.path('data-copies'), '')
  const server = await site.serve('data', { model: await site.model([bash(WORK)]) })
  const project = await site.project('project')
  const made = await server.post('/api/runs', {
    goal: 'instructions',
    instructions: 'x',
    cwd: project,
    workspace: 'copy',
  })
  const runId = String(made.body.run_id)
  await server.untilStatus(runId, 'failed')
  const { error } = (await server.get(`/api/runs/${runId}`)).body
  expect(error).toMatch(/data-copies must be a folder of the server's user: E/)
})

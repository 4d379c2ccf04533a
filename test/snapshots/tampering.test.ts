import { expect } from 'vitest'
import * as z from 'zod'
import { retrai } from '../cli/support.ts'
import { bash } from '../support/site.ts'
import { test } from '../support/test.ts'

const Frames = z.array(z.looseObject({ seq: z.int(), payload: z.looseObject({}) }))

test('a server names what a run has changed of its check, and what it names can be redacted and verified', async ({
  site,
}) => {
  await site.project()
  await site.write('project/qa/list.txt', 'old')
  await site.write('project/tests/a.test.js', 'old')
  const model = await site.model([
    bash('sed -i s/old/new/ qa/list.txt tests/a.test.js; touch done; touch tests/b.test.js'),
  ])
  const server = await site.serve('data', { model })
  const goals = await server.get('/api/goals')
  expect(goals.body).toContainEqual(
    expect.objectContaining({
      name: 'pytest',
      protected: expect.arrayContaining(['**/conftest.py', '**/test_*.py', '.retrai.yml']),
    }),
  )
  const runId = await server.start('project', { protect: ['qa/*'] })
  await server.untilStatus(runId, 'achieved')
  const checks = async () => {
    const { body } = await server.get(`/api/runs/${runId}/events?kinds=goal_check&limit=5000`)
    return Frames.parse(body)
  }
  const [last] = (await checks()).slice(-1)
  expect(last?.payload.tampering).toEqual([
    { path: 'qa/list.txt', change: 'modified' },
    { path: 'tests/a.test.js', change: 'modified' },
  ])
  const { stdout } = await server.retrai('watch', runId, '--kinds', 'goal_check')
  expect(stdout).toContain('changed since the run began: qa/list.txt (modified), tests/a.test.js')
  const redacted = await server.retrai(
    'redact',
    runId,
    String(last?.seq),
    '/tampering/0/path',
    '--reason',
    'a name',
    '--force',
  )
  expect(redacted).toMatchObject({ code: 0 })
  expect((await checks()).at(-1)?.payload.tampering).toMatchObject([
    { path: '[redacted]' },
    { path: 'tests/a.test.js' },
  ])
  await server.stop()
  expect(await retrai(['verify', '--data-dir', site.path('data')])).toMatchObject({ code: 0 })
})

import { expect } from 'vitest'
import { bash, writeFiles } from '../../support/site.ts'
import { test } from '../../support/test.ts'

const FILES = {
  'add.sh': 'echo 0\n',
  'test.sh': 'for one in tests/*.sh; do sh "$one" || exit 1; done\n',
  'tests/add.sh': 'test "$(sh add.sh 1 2)" = 3\n',
}
const REQUEST = {
  check: { command: 'sh test.sh' },
  protect: ['tests/**'],
  max_turns_per_iteration: 9,
}
const TAMPERED = {
  as_is: 'achieved',
  original_checks: 'not_achieved',
  tampering: [{ path: 'tests/add.sh', change: 'modified' }],
}

test('what a run changed of its check counts in all runs that begin from it, until it is as at the start', async ({
  site,
}) => {
  const project = site.path('project')
  await writeFiles(project, FILES)
  const model = await site.model(({ turn, messages }) => {
    if (messages.at(-1)?.content.includes('Restore the test'))
      return bash(
        `printf '%s\\n' 'test "$(sh add.sh 1 2)" = 3' >tests/add.sh; echo 'echo $(($1 + $2))' >add.sh`,
      )
    return turn === 0 ? bash('echo true >tests/add.sh') : { text: 'Done.' }
  })
  const server = await site.serve('data', { model, env: { RETRAI_ISOLATION: 'none' } })
  const begun = await server.start(project, REQUEST)
  const first = (await server.untilStatus(begun, 'achieved')).body
  expect(first.verdict).toMatchObject(TAMPERED)

  const go = async (body: object): Promise<string> => {
    const { body: answer } = await server.post('/api/runs', body)
    return String(answer.run_id)
  }
  const continued = await go({ continues: { run_id: begun }, instructions: 'Say that it is done.' })
  const { verdict, doubt } = (await server.untilStatus(continued, 'achieved')).body
  expect(verdict).toMatchObject(TAMPERED)
  expect(doubt).toContain('tests/add.sh')

  // Nothing but its first check: also that is compared with the start.
  const { seq } = first.progress as { readonly seq: number }
  const forked = await go({ fork: { run_id: begun, at: seq } })
  expect((await server.untilStatus(forked, 'achieved')).body.verdict).toMatchObject(TAMPERED)

  const restored = await go({ continues: { run_id: continued }, instructions: 'Restore the test' })
  const { body } = await server.untilStatus(restored, 'achieved')
  expect(body.verdict).toMatchObject({ original_checks: 'achieved', tampering: [] })
  expect(body).not.toHaveProperty('doubt')
})

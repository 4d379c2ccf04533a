import { expect, test } from 'vitest'
import { findGoal } from '../../src/checks/catalogue.ts'
import { workspaceOf } from '../workspace/support.ts'
import { check, type Files, programs, project, withPath, withPrograms } from './support.ts'

const SCRIPT = { 'package.json': '{"scripts":{"lint":"x"}}' }

test.each<[string, Files, string | null]>([
  ['the lint script comes first', { 'go.mod': '', ...SCRIPT }, 'npm run lint'],
  ['ruff', { 'pyproject.toml': '[project]\n[tool.ruff.lint]\n' }, 'ruff check'],
  ['go vet', { 'go.mod': '' }, 'go vet'],
  ['clippy', { 'Cargo.toml': '' }, 'cargo clippy'],
  ['nothing that is known', { 'pyproject.toml': '[project]\n' }, null],
])('fits by what the project shows: %s', async (_what, files, tool) => {
  const fit = await findGoal('lint').detect?.(workspaceOf(await project(files)))
  if (tool === null) expect(fit).toBeNull()
  else expect(fit?.because).toMatch(new RegExp(`\\(${tool}\\)$`))
})

test('a linter that finds nothing achieves the goal, one that finds something shows it', async () => {
  const cwd = await project({ 'go.mod': '' })
  const checkWith = async (go: string) =>
    check('lint', cwd, { runCommand: withPrograms(await programs({ go })) })
  const clean = { verdict: 'achieved', reason: 'go vet found nothing' }
  expect(await checkWith('exit 0')).toMatchObject(clean)
  const details = 'a.go:1:1: x declared and not used'
  expect(await checkWith(`echo "${details}"; exit 1`)).toEqual({
    verdict: 'not_achieved',
    details,
    reason: `go vet ended with exit code 1: ${details}`,
  })
})

test('the goal cannot be checked if the linter is not installed or not known', async () => {
  const runCommand = withPath(await project({}))
  const missing = await check('lint', await project({ 'go.mod': '' }), { runCommand })
  expect(missing.verdict).toBe('cannot_check')
  expect(missing.reason).toMatch(/^go is not installed: install /)
  const unknown = await check('lint', await project({ 'eslint.config.js': '' }))
  expect(unknown.verdict).toBe('cannot_check')
  expect(unknown.reason).toContain('start a new run with the command in its check')
})

test('the command of a run is used in place of the linters', async () => {
  const shellGoal = { check_command: 'echo strict; exit 4', success_condition: { exit_code: 0 } }
  const { verdict, reason } = await check('lint', await project({}), { shellGoal })
  expect([verdict, reason]).toEqual(['not_achieved', 'the linter ended with exit code 4: strict'])
})

test.each(['lint', 'npm-test'])(
  '%s: if its script needs a missing program, the goal cannot be checked, unless the agent could install the program',
  async (goal) => {
    const cwd = await project({
      'package.json': '{"scripts":{"lint":"no-such-linter .","test":"no-such-linter ."}}',
    })
    const { verdict, reason } = await check(goal, cwd)
    expect(verdict).toBe('cannot_check')
    expect(reason).toContain('needs no-such-linter, which was not found')
    const config = { network: { allow: ['preset:npm'] } }
    expect((await check(goal, cwd, { config })).verdict).toBe('not_achieved')
  },
)

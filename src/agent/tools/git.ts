import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import type { GitProblem } from '../../workspace/answers.ts'
import type { Questions } from '../../workspace/questions.ts'
import { failedBy } from './path-problem.ts'
import { printedText } from './search-files.ts'
import { defineTool, type ToolContext, type ToolOutput } from './tool.ts'

/** The exit code of git if it cannot read a repository. */
const FATAL = 128

const ELSEWHERE =
  'Isolated commands see another one only if RETRAI_TOOL_PATHS of the server names its folder, and can then read it.'

/** A sentence for the model. */
function describe(problem: GitProblem): string {
  switch (problem.type) {
    case 'no_repository':
      return 'fatal: not a git repository (or any of the parent directories): .git'
    case 'leads_outside':
      return `${processMask.text(problem.what)} leads out of the project's folder. The git tools read a repository only if all of it is in that folder. ${ELSEWHERE}`
    case 'not_linked':
      return `.git names another repository, which does not name this folder as one of its worktrees, or has another owner. The git tools do not read it. ${ELSEWHERE}`
    case 'unusable':
      return `The repository cannot be read: ${problem.message}.`
  }
}

async function shown(
  show: Questions['git']['show'],
  { workspace, signal }: ToolContext,
  nothing = '',
): Promise<ToolOutput> {
  const answered = await workspace.ask('git', { show }, { signal })
  if (answered.isErr()) return failedBy('.git', answered.error)
  const answer = answered.value
  if ('problem' in answer) {
    return { output: describe(answer.problem), exitCode: FATAL, outcome: 'error' }
  }
  const { exitCode, isCut, body } = answer
  const output = printedText(body, isCut)
  if (exitCode !== 0 && !isCut) return { output, exitCode, outcome: 'error' }
  return { output: output === '' ? nothing : output, exitCode: 0, outcome: 'ok' }
}

const nothing = z.strictObject({})

export const gitStatus = defineTool({
  name: 'git_status',
  description: 'The branch, and the changed and untracked files of the project, as git knows them.',
  readOnly: true,
  args: nothing,
  touches: () => ({}),
  run: async (_, context) => shown('status', context),
})

export const gitDiff = defineTool({
  name: 'git_diff',
  description:
    'All changes to tracked files of the project since the last commit, staged or not, as a diff.',
  readOnly: true,
  args: nothing,
  touches: () => ({ trees: ['.'] }),
  run: async (_, context) => shown('diff', context, 'No changes to tracked files.'),
})

export const gitLog = defineTool({
  name: 'git_log',
  description: 'The last 20 commits, newest first: id, date, author, subject and files changed.',
  readOnly: true,
  args: nothing,
  touches: () => ({}),
  run: async (_, context) => shown('log', context),
})

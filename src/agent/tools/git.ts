import * as z from 'zod'
import { commandOutput, WHOLE_OUTPUT_BYTES } from './commands.ts'
import { describeGitProblem } from './git-repository.ts'
import { withGitView } from './git-view.ts'
import { defineTool, type ToolContext, type ToolOutput } from './tool.ts'

const TIMEOUT_MS = 30_000
const COMMITS = 20
/** The exit code of `git rev-parse --verify --quiet` for a revision that does not exist. */
const NO_SUCH_REVISION = 1
/** The exit code of git if it cannot read a repository. */
const FATAL = 128

/** Runs git in the view of the repository. */
type Git = (...args: readonly string[]) => Promise<ToolOutput>

/** Repeats what the configuration of the view already ensures: no hooks and no other programs. */
const READ_ONLY = [
  '--no-pager',
  '--no-optional-locks',
  ...['-c', 'core.fsmonitor=false'],
  ...['-c', 'core.hooksPath=/dev/null'],
  ...['-c', 'color.ui=false'],
  ...['-c', 'log.showSignature=false'],
]
const NO_PROGRAMS = ['--no-ext-diff', '--no-textconv']
/** To see changes inside a submodule, git would start another git with the configuration of the submodule. */
const NO_SUBMODULES = '--ignore-submodules=dirty'

async function inView(
  context: ToolContext,
  use: (git: Git) => Promise<ToolOutput>,
): Promise<ToolOutput> {
  const output = await withGitView(context, (env, readable) =>
    use(async (...args) => {
      const { cwd, signal, runCommand } = context
      const result = await runCommand({
        file: 'git',
        args: [...READ_ONLY, ...args],
        cwd,
        timeoutMs: TIMEOUT_MS,
        maxBytes: WHOLE_OUTPUT_BYTES,
        env,
        readable,
        signal,
      })
      return commandOutput(result, TIMEOUT_MS)
    }),
  )
  if (output.isOk()) return output.value
  if (output.error.type === 'command') return commandOutput(output.error.result, TIMEOUT_MS)
  return { output: describeGitProblem(output.error), exitCode: FATAL, outcome: 'error' }
}

const withDefault = (result: ToolOutput, text: string): ToolOutput =>
  result.outcome === 'ok' && result.output === '' ? { ...result, output: text } : result

const nothing = z.strictObject({})

export const gitStatus = defineTool({
  name: 'git_status',
  description: 'The branch, and the changed and untracked files of the project, as git knows them.',
  readOnly: true,
  args: nothing,
  touches: () => ({}),
  run: async (_, context) =>
    inView(context, (git) => git('status', '--short', '--branch', NO_SUBMODULES, '--', '.')),
})

export const gitDiff = defineTool({
  name: 'git_diff',
  description:
    'All changes to tracked files of the project since the last commit, staged or not, as a diff.',
  readOnly: true,
  args: nothing,
  touches: () => ({ trees: ['.'] }),
  run: async (_, context) =>
    inView(context, async (git) => {
      const head = await git('rev-parse', '--verify', '--quiet', 'HEAD^{commit}')
      if (head.outcome !== 'ok' && head.exitCode !== NO_SUCH_REVISION) return head
      // Before the first commit, everything is compared with the empty tree, which every repository knows.
      const since =
        head.outcome === 'ok'
          ? 'HEAD'
          : (await git('hash-object', '-t', 'tree', '/dev/null')).output.trim()
      const args = [...NO_PROGRAMS, NO_SUBMODULES, '--relative', since, '--', '.']
      return withDefault(await git('diff', ...args), 'No changes to tracked files.')
    }),
})

export const gitLog = defineTool({
  name: 'git_log',
  description: `The last ${COMMITS} commits, newest first: id, date, author, subject and files changed.`,
  readOnly: true,
  args: nothing,
  touches: () => ({}),
  run: async (_, context) => {
    const format = '--format=%h %ad %an: %s'
    const args = [`--max-count=${COMMITS}`, '--date=iso-strict', format, '--stat']
    return inView(context, (git) => git('log', ...args, ...NO_PROGRAMS, '--relative'))
  },
})

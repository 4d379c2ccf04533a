import { z } from 'zod'
import { commandOutput, WHOLE_OUTPUT_BYTES } from './command-output.ts'
import { defineTool } from './define-tool.ts'
import type { ToolContext, ToolOutput } from './tool.ts'

const TIMEOUT_MS = 30_000
const COMMITS = 20
/** How `git rev-parse --verify --quiet` says that a revision does not exist. */
const NO_SUCH_REVISION = 1

/** Settings that keep git from changing the index and from running programs that a repository names. */
const READ_ONLY = [
  '--no-pager',
  '--no-optional-locks',
  ...['-c', 'core.fsmonitor=false'],
  ...['-c', 'color.ui=false'],
  ...['-c', 'log.showSignature=false'],
]

async function git(
  args: readonly string[],
  { cwd, signal, runCommand }: ToolContext,
): Promise<ToolOutput> {
  const result = await runCommand({
    file: 'git',
    args: [...READ_ONLY, ...args],
    cwd,
    timeoutMs: TIMEOUT_MS,
    maxBytes: WHOLE_OUTPUT_BYTES,
    signal,
  })
  return commandOutput(result, TIMEOUT_MS)
}

const orElseSay = (result: ToolOutput, words: string): ToolOutput =>
  result.outcome === 'ok' && result.output === '' ? { ...result, output: words } : result

const nothing = z.strictObject({})

export const gitStatus = defineTool({
  name: 'git_status',
  description: 'The branch, and the changed and untracked files of the project, as git knows them.',
  readOnly: true,
  args: nothing,
  run: async (_, context) => git(['status', '--short', '--branch', '--', '.'], context),
})

export const gitDiff = defineTool({
  name: 'git_diff',
  description:
    'All changes to tracked files of the project since the last commit, staged or not, as a diff.',
  readOnly: true,
  args: nothing,
  run: async (_, context) => {
    const head = await git(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'], context)
    if (head.outcome !== 'ok' && head.exitCode !== NO_SUCH_REVISION) return head
    // Before the first commit all is compared with the empty tree, which every repository knows.
    const since =
      head.outcome === 'ok'
        ? 'HEAD'
        : (await git(['hash-object', '-t', 'tree', '/dev/null'], context)).output.trim()
    const args = ['diff', '--no-ext-diff', '--no-textconv', '--relative', since, '--', '.']
    return orElseSay(await git(args, context), 'No changes to tracked files.')
  },
})

export const gitLog = defineTool({
  name: 'git_log',
  description: `The last ${COMMITS} commits, newest first: id, date, author, subject and files changed.`,
  readOnly: true,
  args: nothing,
  run: async (_, context) => {
    const format = '--format=%h %ad %an: %s'
    const args = ['log', `--max-count=${COMMITS}`, '--date=iso-strict', format, '--stat']
    return git([...args, '--no-ext-diff', '--no-textconv', '--relative'], context)
  },
})

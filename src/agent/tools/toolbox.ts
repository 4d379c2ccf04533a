import { ok } from 'neverthrow'
import * as z from 'zod'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import { TOOL_GOALS } from '../../checks/tools.ts'
import { asksForGoal, HostPattern, NETWORK_TOOL } from '../../domain/network.ts'
import { PLAN_TOOL, Plan } from '../../domain/plan.ts'
import { present } from '../../domain/present.ts'
import { INSTRUCTIONS_GOAL, SUBAGENT_TOOL, SUBAGENTS_AT_ONCE } from '../../domain/related-runs.ts'
import type { OpenCall } from '../../domain/state.ts'
import { messageOf } from '../../lib/message-of.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { McpTool } from '../../mcp/run-servers.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { StartProcess } from '../../runner/run-command.ts'
import { projectProblem } from '../../sandbox/project-folder.ts'
import { mayWiden, type NetworkRules, widened } from '../planning/problems.ts'
import { observe } from '../run/notices.ts'
import { WantedSubagent } from '../subagents/request.ts'
import { applyPatch } from './apply-patch.ts'
import { bashExec, runPytest } from './commands.ts'
import { fileRead, outputRead } from './file-read.ts'
import { fileDelete, fileList, filePatch, fileRename, fileWrite } from './file-write.ts'
import { processRead, processStart, processStop } from './processes.ts'
import { recordedOutput } from './recorded-output.ts'
import { findFiles, gitDiff, gitLog, gitStatus, grepSearch } from './search.ts'
import {
  type CallContext,
  type DefinedTool,
  defineTool,
  failed,
  succeeded,
  type Toolbox,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

const updatePlan = defineTool({
  name: PLAN_TOOL,
  description:
    'Note the steps of your task and how far you are: people see the list, and you keep it when your conversation is summarized. Use it for ' +
    'work of several steps, with one step in progress, and give the whole list each time.',
  readOnly: true,
  args: z.strictObject({ steps: Plan }),
  touches: () => ({}),
  run: async () => succeeded('The plan is noted.'),
})

const MAX_HOSTS = 16

const WantedHosts = z.strictObject({
  hosts: z
    .array(HostPattern)
    .min(1)
    .max(MAX_HOSTS)
    .refine((allow) => !asksForGoal({ allow }), 'must name hosts, or a registry such as preset:npm')
    .describe(
      'Such as api.example.org, *.example.org or example.org:8443, or preset:npm, preset:pypi, preset:cargo, preset:go or preset:maven',
    ),
  reason: z.string().trim().min(1).max(1_000).describe('What you need them for, for the person'),
})

/** A person answers before the call begins, and the answer widens the network of the run. */
const requestNetwork = (rules: NetworkRules): DefinedTool =>
  defineTool({
    name: NETWORK_TOOL,
    description:
      'Ask a person to let your commands reach more hosts. The run waits for the answer, which can take long: ask only for ' +
      'what you cannot do without, and for all of it at once.',
    readOnly: true,
    args: WantedHosts,
    touches: ({ hosts }) => ({ asksFor: (had) => widened(had, hosts, rules).unwrapOr(null) }),
    run: async ({ hosts }, { network }) => {
      const missing = widened(network, hosts, rules)
      if (missing.isErr()) return failed(missing.error)
      return missing.value === null
        ? succeeded('Commands and processes that you start from now on reach these hosts.')
        : failed('No person has allowed these hosts.')
    },
  })

/** What starting a sub-agent touches beside its own calls: what its check runs, and its project. */
function touchesOfSubagent({ goal, check, folder }: WantedSubagent) {
  const command = TOOL_GOALS.find(({ name }) => name === goal)?.tool ?? null
  const ofGoal = goal === undefined || goal === INSTRUCTIONS_GOAL ? [] : [command]
  return {
    commands: check === undefined ? ofGoal : [check.command],
    startsIn: folder,
    obeysSettings: ofGoal.length > 0,
    trees: folder === undefined ? [] : [folder],
  }
}

const runSubagent = defineTool({
  name: SUBAGENT_TOOL,
  description:
    'Let a sub-agent work on a task in this project, and wait for it. It has your tools (of MCP servers, those that you name), a conversation of its own, and ' +
    'a budget out of yours; you get its last reply, the files that it changed and what it used. Use it for work that you ' +
    'can describe completely and of which you need only the result, such as a search through many files. It works in the ' +
    `same files as you. Up to ${SUBAGENTS_AT_ONCE} that you ask for in one reply, in sequence, work side by side and share your budget: give them ` +
    'different files.',
  readOnly: false,
  args: WantedSubagent,
  // The calls of the sub-agent are reviewed by the same rules, but its check is no call.
  touches: touchesOfSubagent,
  run: async (wanted, { startSubagent }) =>
    startSubagent?.(wanted) ?? failed('This run starts no sub-agents.'),
})

const TOOLS: readonly DefinedTool[] = [
  bashExec,
  fileRead,
  fileList,
  fileWrite,
  filePatch,
  applyPatch,
  fileRename,
  fileDelete,
  grepSearch,
  findFiles,
  gitStatus,
  gitDiff,
  gitLog,
  outputRead,
  runPytest,
  processStart,
  processRead,
  processStop,
  updatePlan,
]

export type ToolboxOptions = {
  readonly runCommand: RunCommand
  /** Variables that commands of the model see; none if it is left out. */
  readonly variables?: Readonly<Record<string, string>>
  /** Without it, there are no background processes. */
  readonly startProcess?: StartProcess
  /** Where output is stored that is too long for the log. */
  readonly artifacts: Pick<Artifacts, 'put'>
  /** What network a person may give runs; none if it is left out. */
  readonly networks?: NetworkRules
  /** Whether agents may start sub-agents; they may not if it is left out. */
  readonly subagents?: boolean
}

export function createToolbox({
  runCommand,
  startProcess,
  artifacts,
  variables = {},
  subagents = false,
  networks,
}: ToolboxOptions): Toolbox {
  const tools = [
    ...TOOLS,
    ...(networks !== undefined && mayWiden(networks) ? [requestNetwork(networks)] : []),
    ...(subagents ? [runSubagent] : []),
  ]
  const find: Toolbox['find'] = (name, ofServers) =>
    tools.find(({ spec }) => spec.name === name) ?? ofServer(ofServers?.(name))
  return {
    find,
    specs: tools.map(({ spec }) => spec),
    readOnly: new Set(tools.filter(({ readOnly }) => readOnly).map(({ spec }) => spec.name)),
    async execute(call, given) {
      const begun = performance.now()
      const { cwd, runId, policy, folder, onNotice, signal } = given
      const commands = observe(runCommand, policy ?? null, folder)
      const ofRun = { project: cwd, ...present({ run: runId }) }
      const starting = startProcess === undefined ? null : commands.starting(startProcess)
      const context: ToolContext = {
        ...given,
        variables,
        callId: call.call_id,
        runCommand: (command) =>
          commands.runCommand({ ...ofRun, ...present({ onNotice }), ...command }),
        startProcess: starting && ((request) => starting({ ...ofRun, ...request })),
      }
      const outcome = await perform(call, find(call.tool, given.findTool), context, given)
      const duration_ms = Math.round(performance.now() - begun)
      const isOurs = TOOLS.some(({ spec }) => spec.name === call.tool)
      const recorded = await recordedOutput(outcome, signal.aborted ? NOT_KEPT : artifacts, isOurs)
      const { call_id, tool: name } = call
      return { call_id, tool: name, duration_ms, ...recorded, ...commands.observed() }
    },
  }
}

/** No record will name the output of a call that ended with its run, so nobody could find or redact it. */
const NOT_KEPT: Pick<Artifacts, 'put'> = {
  put: async () => {
    throw new Error('the run has ended')
  },
}

/** Nobody knows what a tool of a server does with files or commands, so rules name the tool or its server. */
const ofServer = (tool: McpTool | undefined): DefinedTool | undefined =>
  tool && {
    ...tool,
    prepare: (args) =>
      ok({
        touches: { mcpServer: tool.server },
        run: (context: ToolContext) => tool.call(args, context),
      }),
  }

const rejected = (output: string): ToolOutput => ({ output, outcome: 'rejected', exitCode: null })

/** What is wrong with arguments that are no JSON object. The model does not see again what it wrote. */
function notAnObject(raw: string): string {
  try {
    // The error quotes some of it, and half of a secret would not be recognized.
    JSON.parse(processMask.text(raw))
    return 'not a JSON object.'
  } catch (cause) {
    return `not a JSON object: ${messageOf(cause)}`
  }
}

async function perform(
  call: OpenCall,
  tool: DefinedTool | undefined,
  context: ToolContext,
  { cwd, folder, excluded = [] }: CallContext,
): Promise<ToolOutput> {
  if (tool === undefined || excluded.includes(call.tool)) {
    const known = TOOLS.map(({ spec }) => spec.name).filter((name) => !excluded.includes(name))
    return rejected(
      `There is no tool ${JSON.stringify(call.tool)}. Call the tools that you have by their names, such as ${known.join(', ')}.`,
    )
  }
  if (call.raw_args !== undefined) {
    return rejected(`The arguments of ${call.tool} are ${notAnObject(call.raw_args)}`)
  }
  const prepared = tool.prepare(call.args)
  if (prepared.isErr()) {
    return rejected(`The arguments of ${call.tool} are not valid:\n${prepared.error}`)
  }
  if (context.signal.aborted) {
    return { output: 'The run was aborted before this ran.', outcome: 'aborted', exitCode: null }
  }
  // Checked before each call: a run can replace its own folder by a link.
  const replaced = folder === undefined ? null : projectProblem(cwd, folder)
  if (replaced !== null) return failed(replaced)
  try {
    const result = await prepared.value.run(context)
    // What a call that only reads has done is never in doubt.
    return tool.readOnly && result.outcome === 'unknown'
      ? failed(`${result.output}\n${REPEATABLE}`)
      : result
  } catch (cause) {
    return failed(`${call.tool} failed: ${messageOf(cause)}`)
  }
}

const REPEATABLE = 'This call only reads, so it has changed nothing. Repeat it if you need it.'

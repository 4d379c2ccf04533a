import type { Artifacts } from '../../artifacts/artifacts.ts'
import { hasSockets } from '../../domain/isolation.ts'
import { NETWORK_TOOL } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import type { PayloadOf, RequestedCall } from '../../domain/records.ts'
import type { OpenCall } from '../../domain/state.ts'
import { SUBAGENT_TOOL, SUBAGENTS_AT_ONCE } from '../../domain/subagents.ts'
import { Backoff } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/message-of.ts'
import { processMask } from '../../log/masking.ts'
import type { RunCommand } from '../../runner/command.ts'
import type { StartProcess } from '../../runner/start-process.ts'
import { dataFolderProblem } from '../data-folder.ts'
import { mayWiden, type NetworkRules } from '../network-rules.ts'
import { observe } from '../observed-commands.ts'
import { projectProblem } from '../project-folder.ts'
import { applyPatch } from './apply-patch.ts'
import { factsOf } from './call-facts.ts'
import { bashExec, runPytest } from './commands.ts'
import { filePatch } from './file-patch.ts'
import { fileRead } from './file-read.ts'
import { fileList, findFiles } from './find-files.ts'
import { gitDiff, gitLog, gitStatus } from './git.ts'
import { grepSearch } from './grep-search.ts'
import { outputRead } from './output-read.ts'
import { processInput, processRead, processStart, processStop } from './processes.ts'
import { recordedOutput } from './recorded-output.ts'
import { networkAskedFor, requestNetwork } from './request-network.ts'
import {
  type CallContext,
  type DefinedTool,
  defineTool,
  failed,
  type Toolbox,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'
import { updatePlan } from './update-plan.ts'
import { touchesOfSubagent, WantedSubagent } from './wanted-subagent.ts'
import { fileDelete, fileRename, fileWrite } from './whole-files.ts'

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
  processInput,
  processStop,
  updatePlan,
]

type ToolResult = PayloadOf<'tool_result'>
type Outcome = Pick<ToolResult, 'output' | 'outcome' | 'exit_code' | 'subagent' | 'folder'> &
  Pick<ToolOutput, 'image'>

/** Finds a tool that only this run has. */
type FindTool = (runId: string | undefined, name: string) => DefinedTool | undefined

export type ToolboxOptions = {
  readonly runCommand: RunCommand
  /** Variables that commands of the model see; none if it is left out. */
  readonly variables?: Readonly<Record<string, string>>
  /** Without it, there are no background processes. */
  readonly startProcess?: StartProcess
  /** Where output is stored that is too long for the log. */
  readonly artifacts: Pick<Artifacts, 'put'>
  /** Opens a whole output, if a result of the run names it. Without it, no output is found. */
  readonly openOutput?: (runId: string, sha256: string) => ReturnType<Artifacts['read']>
  /** The server's data folder, which tools neither read nor change; null if there is none. */
  readonly dataDir: string | null
  /** Whether commands see only the project and the system's programs; they do not if it is left out. */
  readonly isolated?: boolean
  /** Without it, all runs have the same tools. */
  readonly findTool?: FindTool
  /** What network a person may give runs; none if it is left out. */
  readonly networks?: NetworkRules
  /** Whether agents may start sub-agents; they may not if it is left out. */
  readonly subagents?: boolean
}

/** The tools of every run. */
export function createToolbox({
  runCommand,
  startProcess,
  artifacts,
  openOutput = async () => null,
  isolated = false,
  findTool = () => undefined,
  variables = {},
  subagents = false,
  networks,
  dataDir,
}: ToolboxOptions): Toolbox {
  const asking = networks !== undefined && mayWiden(networks) ? networks : null
  const tools = [
    ...TOOLS,
    ...(asking === null ? [] : [requestNetwork(asking)]),
    ...(subagents ? [subagentTool] : []),
  ]
  const find = ({ tool }: RequestedCall, runId: string | undefined) =>
    toolNamed(tool, tools) ?? findTool(runId, tool)
  const carryOut = async (call: OpenCall, given: CallContext) => {
    const { cwd, signal, runId, policy, network = 'none', onNotice, onOutput = () => {} } = given
    const { workspace } = given
    const { processes = null, shellFolder = '.', imageTypes = async () => [] } = given
    const { resultOf = () => null, excluded = [], folder } = given
    const allowed = tools.filter(({ spec }) => !excluded.includes(spec.name))
    const commands = observe(runCommand, policy ?? null, folder)
    const ofRun = { project: cwd, ...present({ run: runId }) }
    const starting = startProcess === undefined ? null : commands.starting(startProcess)
    const context: ToolContext = {
      ...{ cwd, workspace, isolated, signal, network, variables, onOutput, processes },
      callId: call.call_id,
      ...{ shellFolder, imageTypes, resultOf },
      hasSockets: policy === undefined || hasSockets(policy.level),
      openOutput: async (sha256) => (runId === undefined ? null : openOutput(runId, sha256)),
      runCommand: (command) =>
        commands.runCommand({ ...ofRun, ...present({ onNotice }), ...command }),
      startProcess: starting && ((request) => starting({ ...ofRun, ...request })),
      startSubagent: async (wanted) =>
        given.startSubagent?.(wanted, context) ?? failed('This run starts no sub-agents.'),
    }
    const tool = excluded.includes(call.tool) ? undefined : find(call, runId)
    const places = { tools: allowed, dataDir, folder }
    const outcome = await perform(call, tool, context, places)
    return { outcome, observed: commands.observed }
  }
  return {
    specs: tools.map(({ spec }) => spec),
    readOnly: new Set(tools.filter(({ readOnly }) => readOnly).map(({ spec }) => spec.name)),
    async facts(call, place) {
      const { tool, args } = call
      if (tool !== NETWORK_TOOL) return factsOf(call, find(call, place.runId), place)
      const network = asking && networkAskedFor(args, place.network ?? 'none', asking)
      return network && { tool, touches: {}, network }
    },
    async execute(call, given) {
      const begun = performance.now()
      const { outcome, observed } = await carryOut(call, given)
      const { call_id, tool } = call
      const duration_ms = Math.round(performance.now() - begun)
      const kept = given.signal.aborted ? NOT_KEPT : artifacts
      const recorded = await recordedOutput(outcome, kept, toolNamed(tool, TOOLS) !== undefined)
      const { output, exit_code, outcome: how, bytes, truncated, sha256, ...others } = recorded
      // In the order of the schema, so that the record is read fast.
      const result = { call_id, tool, output, exit_code, outcome: how, duration_ms }
      return { ...result, bytes, truncated, sha256, ...observed(), ...others }
    },
  }
}

/** No record will name the output of a call that ended with its run, so nobody could find or redact it. */
const NOT_KEPT: Pick<Artifacts, 'put'> = {
  put: async () => {
    throw new Error('the run has ended')
  },
}

const toolNamed = (name: string, tools: readonly DefinedTool[]): DefinedTool | undefined =>
  tools.find(({ spec }) => spec.name === name)

const rejected = (output: string): Outcome => ({ output, outcome: 'rejected', exit_code: null })

async function perform(
  call: OpenCall,
  tool: DefinedTool | undefined,
  context: ToolContext,
  {
    tools,
    dataDir,
    folder,
  }: {
    readonly tools: readonly DefinedTool[]
    readonly dataDir: string | null
    readonly folder: CallContext['folder'] | undefined
  },
): Promise<Outcome> {
  if (tool === undefined) {
    const names = tools.map(({ spec }) => spec.name).join(', ')
    return rejected(`There is no tool ${JSON.stringify(call.tool)}. The tools are: ${names}.`)
  }
  if (call.raw_args !== undefined) {
    return rejected(`The arguments of ${call.tool} are ${jsonProblem(call.raw_args)}.`)
  }
  const prepared = tool.prepare(call.args)
  if (prepared.isErr()) {
    return rejected(`The arguments of ${call.tool} are not valid:\n${prepared.error}`)
  }
  if (context.signal.aborted) {
    return { output: 'The run was aborted before this ran.', outcome: 'aborted', exit_code: null }
  }
  // Checked before each call: a run can replace its own folder by a link.
  const replaced = folder === undefined ? null : projectProblem(context.cwd, folder)
  const clash = replaced ?? (await dataFolderProblem(context.cwd, dataDir))
  if (clash !== null) return { output: clash, outcome: 'error', exit_code: 1 }
  try {
    const result = tool.readOnly
      ? await untilKnown(() => prepared.value(context), context)
      : await prepared.value(context)
    const { exitCode: exit_code, ...rest } = result
    return { ...rest, exit_code }
  } catch (cause) {
    const message = messageOf(cause)
    return { output: `${call.tool} failed: ${message}`, outcome: 'error', exit_code: 1 }
  }
}

/** How often a call that only reads is tried if the process that runs commands dies, and the pauses between. */
const [TRIES, BETWEEN_TRIES_MS] = [6, [200, 5_000]] as const

/** Repeats a call that only reads, as after a crash of the server. Nothing can be in doubt about it. */
async function untilKnown(
  run: () => Promise<ToolOutput>,
  { signal }: ToolContext,
): Promise<ToolOutput> {
  const backoff = new Backoff(BETWEEN_TRIES_MS)
  for (;;) {
    const result = await run()
    if (result.outcome !== 'unknown') return result
    if (backoff.failures === TRIES - 1) return failed(`${DIED}\n${result.output}`)
    if (!(await backoff.wait(signal))) return { ...result, outcome: 'aborted' }
  }
}

const DIED = `The process that runs commands died ${TRIES} times during this call. It has changed nothing.`

function jsonProblem(text: string): string {
  try {
    // The error quotes a piece of the text, which must not be a piece of a secret.
    JSON.parse(processMask.text(text))
    return 'JSON, but not an object'
  } catch (cause) {
    return `not valid JSON: ${messageOf(cause)}`
  }
}

const subagentTool = defineTool({
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
  run: (wanted, { startSubagent }) => startSubagent(wanted),
})

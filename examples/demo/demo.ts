import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Result } from 'neverthrow'
import { eventLine } from '../../src/cli/terminal/event-line.ts'
import { rendered } from '../../src/cli/terminal/print.ts'
import {
  type AgentEvent,
  type Client,
  createClient,
  type RequestError,
} from '../../src/client/index.ts'
import * as javascript from '../scripted-model/fix-the-calculator.ts'
import * as python from '../scripted-model/fix-the-python-calculator.ts'
import { startScriptedModel } from '../scripted-model/server.ts'
import { startServerProcess } from './server.ts'

/**
 * A real server process, a broken project, a run that fixes it, and two observers. Only the model is scripted, unless
 * the environment has the key of a provider. The project is in JavaScript, so its tests need only Node; with `--python`
 * it is in Python.
 */
const REAL_MODELS = [
  ['ANTHROPIC_API_KEY', 'claude-sonnet-4-6'],
  ['OPENAI_API_KEY', 'gpt-5'],
  ['GEMINI_API_KEY', 'gemini-2.5-pro'],
] as const

const SCRIPTED = 'scripted-model'
const { brokenProject, goal, script } = process.argv.includes('--python') ? python : javascript

async function chooseModel() {
  if (process.env.RETRAI_LLM_BASE_URL) {
    const name = process.env.RETRAI_DEMO_MODEL ?? 'default'
    return {
      name,
      env: {},
      note: `the model ${name} at RETRAI_LLM_BASE_URL`,
      close: async () => {},
    }
  }
  const real = REAL_MODELS.find(([key]) => process.env[key])
  if (real !== undefined) {
    const name = process.env.RETRAI_DEMO_MODEL ?? real[1]
    return { name, env: {}, note: `the model ${name}`, close: async () => {} }
  }
  const scripted = await startScriptedModel({ script })
  // The commands of the script are known, and the demo must run on a machine that has only Node.
  const isolation = process.env.RETRAI_ISOLATION ?? 'none'
  if (isolation === 'none') {
    console.log(
      'The demo sets RETRAI_ISOLATION=none: the commands of its script run with your rights.',
    )
  }
  return {
    name: SCRIPTED,
    env: { RETRAI_LLM_BASE_URL: scripted.url, RETRAI_ISOLATION: isolation },
    note: 'a SCRIPTED model: its replies were written in advance, and everything else is real. Set ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY for a real one',
    close: () => scripted.close(),
  }
}

async function createProject(folder: string): Promise<void> {
  for (const [path, content] of Object.entries(brokenProject)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
}

/** Watches a run to its end. Resolves to all events, in the order in which they arrived. */
async function observe(
  client: Client,
  runId: string,
  onEvent: (event: AgentEvent) => void = () => {},
): Promise<AgentEvent[]> {
  const seen: AgentEvent[] = []
  for await (const event of client.watch(runId)) {
    seen.push(event)
    onEvent(event)
  }
  return seen
}

/** The value of a call. The demo cannot continue without it. */
function orThrow<T>(called: Result<T, RequestError>): T {
  if (called.isErr()) throw new Error(called.error.message)
  return called.value
}

async function run(client: Client, project: string, model: string): Promise<boolean> {
  const { run_id: runId } = orThrow(
    await client.runs.create({
      goal,
      cwd: project,
      model_name: model,
      max_iterations: 10,
      // The scripted model fixes one bug in each reply, and the goal is checked after each.
      ...(model === SCRIPTED ? { max_turns_per_iteration: 1 } : {}),
    }),
  )
  console.log(`Started run ${runId}. Its events as they arrive:\n`)

  let late: Promise<AgentEvent[]> | undefined
  const first = await observe(client, runId, (event) => {
    console.log(rendered(eventLine(event)))
    if (event.kind !== 'goal_check' || late !== undefined) return
    console.log('      … a second observer joins late, here …')
    late = observe(client, runId)
  })
  const second = (await late) ?? []
  const same = isDeepStrictEqual(first, second)
  console.log(
    `\nThe first observer saw ${first.length} events, the late one ${second.length}: ` +
      (same ? 'the same, in the same order.' : 'NOT THE SAME.'),
  )
  const details = orThrow(await client.runs.get(runId))
  console.log(`\nGET /api/runs/${runId}\n${JSON.stringify(details, null, 2)}`)
  return same && details.status === 'achieved'
}

async function main(): Promise<void> {
  const once = process.argv.includes('--once')
  const folder = await mkdtemp(join(tmpdir(), 'retrai-demo-'))
  const cleanups: (() => Promise<void>)[] = []
  const endAll = async (): Promise<void> => {
    do {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
      await rm(folder, { recursive: true, force: true })
      // If nobody reads, something may have been started meanwhile.
    } while (cleanups.length > 0)
  }
  let ending: Promise<void> | undefined
  const cleanUp = () => {
    ending ??= endAll()
    return ending
  }
  // Somebody reads only the first lines, as with head.
  process.stdout.on('error', () => void cleanUp().finally(() => process.exit(1)))
  try {
    process.exitCode = (await show(folder, once, cleanups)) ? 0 : 1
  } finally {
    await cleanUp()
  }
}

/** Shows everything; false if something was not as it should be. @param cleanups what must be done at the end, the last first */
async function show(
  folder: string,
  once: boolean,
  cleanups: (() => Promise<void>)[],
): Promise<boolean> {
  const project = join(folder, 'project')
  await createProject(project)
  const model = await chooseModel()
  cleanups.push(model.close)
  const starting = startServerProcess(['--port', '0', '--data-dir', join(folder, 'data')], {
    ...process.env,
    ...model.env,
  })
  cleanups.push(async () => (await starting).stop())
  const server = await starting
  console.log(`The server is at ${server.url}, the broken project in ${project}.`)
  console.log(`The run uses ${model.note}.\n`)
  const good = await run(createClient({ baseUrl: server.url }), project, model.name)
  if (!once) {
    console.log(
      `\nThe server stays up. Look at the run in its console: ${server.url}/\nThe API: ${server.url}/docs. Ctrl+C ends it.`,
    )
    await new Promise((resolve) => process.once('SIGINT', resolve))
  }
  return good
}

await main()

import { Command } from 'commander'
import { collectAfterStart } from '../../lib/collect-garbage.ts'
import { guardSecrets, processMask } from '../../log/masking.ts'
import { readSettings } from '../../server/read-settings.ts'
import { type Settings, secretsOf } from '../../server/settings.ts'
import { fail } from '../terminal/print.ts'
import type { ServerThread } from './server-thread.ts'

/** How long a stop may take. After that, the process ends. What is not stored by then was not acknowledged. */
const STOP_WITHIN_MS = 4_500

/** If the server is not ready by then, it logs where it listens, milliseconds. */
const NOT_READY_MS = 1_000

const ENVIRONMENT = `
Environment (flags win; a variable that is empty counts as not set):
  RETRAI_LISTEN, RETRAI_HEALTH_PORT, RETRAI_DATA_DIR, EVENTSTORE_URL, RETRAI_LOG_LEVEL
                         as the flags above
  RETRAI_TOKEN           one more token with the role admin, which "retrai token" does not list. To listen
                         beyond loopback, the server needs a token, and then all clients need one
  RETRAI_MAX_RUNS_AT_WORK
                         the most runs that are worked on at the same time (default 16); others wait
  RETRAI_SUBAGENT_DEPTH  how deep sub-agents may start others (default 2; 0: there are none)
  RETRAI_COMMAND_MEMORY_MIB
                         the most memory of all processes of one command together, on machines with
                         a /proc (default: half of the memory of the machine)
  RETRAI_ARTIFACTS       where whole outputs are kept: "log" (default with an EventStoreDB), the absolute path of
                         a folder that all servers of a log share, or an S3-compatible bucket:
                         s3://bucket/prefix?endpoint=https://…&region=… (default: in the data folder)
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
                         the key for that bucket
  RETRAI_ISOLATION       how commands are isolated: auto (default), namespaces (bubblewrap), landlock or none.
                         auto takes namespaces, else landlock, else commands are refused
  RETRAI_TOOL_PATHS      further folders that isolated commands may read, with colons between them; they
                         may always read those of the system and of the PATH
  RETRAI_COMMAND_ENV     names of variables of the server that commands of agents and checks may see, with
                         commas between them
  RETRAI_NETWORK         the most network that a run may ask for: none, hosts (default: hosts that it
                         names), full, or a list such as pypi.org,*.example.org,preset:npm
  RETRAI_MCP_SERVERS     a JSON file with the MCP servers that runs may name (docs/reference.md)
  RETRAI_MCP_REQUESTS    the MCP servers that a run may bring: none, commands (default) or all
  RETRAI_POOL            if servers share an EventStoreDB: the pool of this server, which works only on
                         runs that servers of its pool accepted (default: the host name at the first start)
  RETRAI_APPROVALS       rules for the calls of every run: a JSON list, or a file with one
  RETRAI_LEASE_SECONDS   if servers share an EventStoreDB: how long one must be silent before the
                         others take over its runs (default 15)
  RETRAI_MAX_COST_USD, RETRAI_MAX_TOKENS, RETRAI_MAX_SECONDS
                         the highest limits of a run, and the limits of a run that sets none
  RETRAI_CHECKPOINT_SECONDS
                         the longest time until a change is in a checkpoint, which is a signed statement
                         about all runs (default 60); the end of a run also causes one soon. 0: never
  RETRAI_ACCESS_LOG      whether accesses are recorded: on (default), strict (before the server shows
                         anything), off
  RETRAI_MODEL           the model of runs that name none (default: that of the provider whose key is the
                         only one that is set, else claude-sonnet-4-6)
  RETRAI_PROVIDERS       JSON file with addresses, headers and keys of providers (docs/reference.md)
  RETRAI_PRICES          JSON or YAML file with prices and windows of models (docs/quickstart.md)
  RETRAI_LLM_BASE_URL    OpenAI-compatible endpoint for all models
  RETRAI_LLM_API_KEY     its key
  ANTHROPIC_API_KEY      for models named anthropic/… or claude-*
  GEMINI_API_KEY         for models named gemini/… or gemini*
  OPENAI_API_KEY         for models named openai/…, and for names without a provider
  OPENAI_BASE_URL        an OpenAI-compatible endpoint for those, and for each name of a provider whose
                         key is not set
  XAI_API_KEY, DEEPSEEK_API_KEY, GROQ_API_KEY, MISTRAL_API_KEY, MOONSHOT_API_KEY, ZAI_API_KEY,
  DASHSCOPE_API_KEY, OPENROUTER_API_KEY
                         for models named xai/…, deepseek/…, groq/…, mistral/…, moonshot/…, zai/…,
                         dashscope/… (Qwen), openrouter/…
  OLLAMA_HOST            for models named ollama/… (default http://127.0.0.1:11434)`

/** `retrai serve`: runs the server until SIGINT, SIGTERM or SIGHUP. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('Start the server.')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <number>', 'port to listen on, 0 for a free one (default 8000)')
    .option(
      '--listen <address>',
      'both as HOST:PORT, or a unix socket of this user: unix:PATH. Commands look for unix:~/.local/share/retrai/server.sock',
    )
    .option(
      '--health-port <number>',
      'port that answers GET /health/live even while the server is stuck (default: none)',
    )
    .option(
      '--data-dir <folder>',
      'folder of the log, the read model and the artifacts (default: one in ~/.local/share/retrai for this working folder)',
    )
    .option('--store <url>', 'esdb://… of an EventStoreDB (default: embedded, in the data folder)')
    .option(
      '--log-level <level>',
      'fatal, error, warn, info, debug, trace or silent (default info; at a terminal warn)',
    )
    .addHelpText('after', ENVIRONMENT)
    .action(serve)
}

async function serve(flags: Record<string, string>): Promise<void> {
  // Loaded here, so --help is answered at once.
  const [{ ServerThread }, { listenForHealth }, output] = await Promise.all([
    import('./server-thread.ts'),
    import('../../server/listen.ts'),
    import('../terminal/log.ts'),
  ])
  const { createLog, isAtTerminal, logNotices, terminalNotices } = output
  const thread = new ServerThread(createLog('info'))
  await thread.prepared
  const read = readSettings(flags, process.env)
  if (read.isErr()) return giveUp(thread, read.error)
  const atTerminal = isAtTerminal()
  // A person at a terminal gets the notices, and log lines only about what is wrong, unless they choose a level.
  const isQuiet = atTerminal && !(flags.logLevel ?? process.env.RETRAI_LOG_LEVEL)?.trim()
  const settings = isQuiet ? { ...read.value, RETRAI_LOG_LEVEL: 'warn' as const } : read.value
  guardSecrets(secretsOf(settings))
  const { RETRAI_LOG_LEVEL, RETRAI_LISTEN: address, RETRAI_HEALTH_PORT: healthPort } = settings
  const log = createLog(RETRAI_LOG_LEVEL)
  const notice = atTerminal ? terminalNotices(factsOf(settings)) : logNotices(log)
  thread.serve(settings, log)
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    // A terminal that is closed sends SIGHUP.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve)
  })
  // The time begins with the signal, so it also ends a server that still waits for its store.
  void signalled.then(() => setTimeout(() => thread.endProcess(), STOP_WITHIN_MS).unref())
  if (healthPort !== undefined) {
    const host = 'socket' in address ? '127.0.0.1' : address.host
    const health = await listenForHealth({ host, port: healthPort }, () => thread.problem())
    if (health.isErr()) return giveUp(thread, health.error)
    notice.health(health.value)
  }
  const started = await thread.started
  if (started.isErr()) return giveUp(thread, started.error)
  const { url, about } = started.value
  const late = setTimeout(() => notice.late(url), NOT_READY_MS)
  void thread.ready.then(() => {
    clearTimeout(late)
    notice.ready(url, about)
    collectAfterStart()
  })
  notice.stopping(await signalled)
  clearTimeout(late)
  await thread.stop()
  process.exit(0)
}

const factsOf = ({ RETRAI_DATA_DIR: dataDir, EVENTSTORE_URL: store }: Settings) => ({
  dataDir,
  store: store === undefined ? null : processMask.text(store),
})

async function giveUp(thread: ServerThread, why: string): Promise<void> {
  await thread.terminate()
  fail(...processMask.text(why).split('\n'))
}

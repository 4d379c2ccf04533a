import { randomUUID } from 'node:crypto'
import type { ApiRequest, GoalOptions } from '../../domain/run-config.ts'
import { counted } from '../../lib/counted.ts'
import type { Goal, GoalContext, GoalVerdict } from './goal.ts'
import { cannotCheck, type Exited, NO_BASH, runCheck } from './run-check.ts'
import { lacksProgram } from './shell-goal.ts'
import { DETAILS_LIMIT, errorLine, headAndTail, lastLine, tail } from './text.ts'

const DEFAULT_URL = 'http://127.0.0.1:8000'
const READY_SECONDS = 60
const REQUEST_SECONDS = 30
const STOP_SECONDS = 5

/** Exit codes of the script below. */
const ENDED_EARLY = 91
const NOT_READY = 92

/**
 * Starts the server, waits until it answers, sends the requests and stops the server, all in one container, because a
 * command cannot reach a server that another one started. Only answers are printed to the standard output, after a line
 * with the mark.
 */
const SCRIPT = `
mark=$1 start=$2 url=$3 ready=$4; shift 4
command -v curl > /dev/null || { echo 'curl: command not found' >&2; exit 127; }
if [ -n "$start" ]; then
  set -m
  bash -c "$start" >&2 &
  server=$!
  set +m
  stop() {
    trap - EXIT
    kill -TERM -- "-$server" 2> /dev/null
    for ((n = 0; n < ${STOP_SECONDS * 10}; n++)); do
      kill -0 -- "-$server" 2> /dev/null || return 0
      read -rt 0.1 <> <(:) || true
    done
    kill -KILL -- "-$server" 2> /dev/null
  }
  trap stop EXIT
  until curl -s -o /dev/null --max-time 5 "$url/"; do
    kill -0 "$server" 2> /dev/null || { wait "$server"; echo "$mark ended $?"; exit ${ENDED_EARLY}; }
    ((SECONDS < ready)) || exit ${NOT_READY}
    read -rt 0.1 <> <(:) || true
  done
fi
while (($# > 0)); do
  count=$1; shift
  printf '\\n%s answer\\n' "$mark"
  curl -sS --max-time ${REQUEST_SECONDS} -w "\\n$mark status %{http_code}\\n" "\${@:1:count}" 2>&1
  shift "$count"
done
exit 0`

const methodOf = ({ method = 'GET' }: ApiRequest): string => method

/** The arguments of curl for one request, after their number. */
function curlArguments(url: string, request: ApiRequest): string[] {
  const { path, headers = {}, body } = request
  const named = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
  const type =
    body === undefined || named.has('content-type') ? {} : { 'content-type': 'application/json' }
  const method = methodOf(request)
  const args = [
    // A HEAD request has no body to wait for.
    ...(method === 'HEAD' ? ['--head'] : ['--request', method]),
    ...Object.entries({ ...type, ...headers }).flatMap(([name, text]) => [
      '--header',
      `${name}: ${text}`,
    ]),
    ...(body === undefined ? [] : ['--data-raw', body]),
    ...['--globoff', '--', `${url}${path}`],
  ]
  return [String(args.length), ...args]
}

type Answer = { readonly status: number; readonly body: string }

function answersIn(stdout: string, mark: string): Answer[] {
  const [, ...parts] = stdout.split(`\n${mark} answer\n`)
  return parts.map((part) => {
    const [body = '', status = ''] = part.split(`\n${mark} status `)
    return { status: Number.parseInt(status, 10) || 0, body }
  })
}

/** What is wrong with an answer, as a part of a sentence; null if it is as expected. */
function problemOf({ status = 200, body_contains }: ApiRequest, answer: Answer): string | null {
  if (answer.status === 0) return `no answer (${lastLine(answer.body)})`
  if (answer.status !== status) return `status ${answer.status} instead of ${status}`
  if (body_contains === undefined || answer.body.includes(body_contains)) return null
  return `${JSON.stringify(body_contains)} is not in the body`
}

function judge(
  requests: readonly ApiRequest[],
  answers: readonly Answer[],
  ended: Exited,
): GoalVerdict {
  const failures = requests.flatMap((request, index) => {
    const answer = answers[index] ?? { status: 0, body: 'the check ended before' }
    const problem = problemOf(request, answer)
    const name = `${methodOf(request)} ${request.path}`
    return problem === null ? [] : [{ name, problem, body: answer.body }]
  })
  if (failures.length === 0) {
    const reason = `All ${counted(requests.length, 'request')} got the expected answer`
    return { verdict: 'achieved', reason, details: '' }
  }
  const list = failures.map(({ name, problem }) => `${name}: ${problem}`).join('; ')
  const room = Math.floor(DETAILS_LIMIT / (failures.length + 1))
  const bodies = failures.map(({ name, problem, body }) => {
    return `--- ${name}: ${problem}\n${headAndTail(body, room)}`
  })
  return {
    verdict: 'not_achieved',
    reason: `${failures.length} of ${counted(requests.length, 'request')} failed: ${list}`,
    details: [...bodies, `--- the server\n${tail(ended.stderr, room)}`].join('\n\n'),
  }
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { requests, start = '', ...options }: GoalOptions = context.config.goal_options ?? {}
  if (requests === undefined) {
    return cannotCheck('This run has no requests: start a new run with the option requests')
  }
  const { url = DEFAULT_URL, ready_within_seconds: ready = READY_SECONDS } = options
  const mark = `retrai-${randomUUID()}`
  const ran = await runCheck(context, {
    tool: 'the check of the API',
    programs: [
      {
        file: 'bash',
        args: [
          ...['-c', SCRIPT, 'api-test', mark, start, url, String(Math.ceil(ready))],
          ...requests.flatMap((request) => curlArguments(url, request)),
        ],
      },
    ],
    missing: NO_BASH,
    timeoutMs: (ready + STOP_SECONDS + requests.length * REQUEST_SECONDS) * 1000,
  })
  if (ran.isErr()) return ran.error
  const ended = ran.value
  const printed = tail(ended.stderr)
  if (lacksProgram(ended))
    return cannotCheck(
      'curl is not installed: install it with the package manager of the system',
      printed,
    )
  if (ended.exitCode === ENDED_EARLY) {
    const code = /ended (\d+)/.exec(ended.stdout)?.[1] ?? 'unknown'
    const reason = `The server ended with exit code ${code} before it answered: ${errorLine(ended.stderr)}`
    return { verdict: 'not_achieved', reason, details: printed }
  }
  if (ended.exitCode === NOT_READY) {
    const reason = `The server did not answer at ${url} within ${ready} s`
    return { verdict: 'not_achieved', reason, details: printed }
  }
  return judge(requests, answersIn(ended.stdout, mark), ended)
}

export const apiTest: Goal = {
  name: 'api-test',
  description:
    'HTTP requests get the expected answers, from a server that is started for the check',
  prompt:
    'Make the requests of the settings below get the expected answers (status 200 if not set). If there is a `start` ' +
    'command, the check runs it with bash in the project folder, waits until the server answers at `url` ' +
    `(${DEFAULT_URL} if not set), sends the requests in their order and stops the server.`,
  takes: {
    options: {
      requests: 'required',
      start: 'optional',
      url: 'optional',
      ready_within_seconds: 'optional',
    },
  },
  check,
}

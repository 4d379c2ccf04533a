import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import { visibleJson, withoutControls } from '../../domain/plain-text.ts'
import { processMask } from '../../masking/process-mask.ts'
import type { StorePlace } from '../../server/read-settings.ts'
import type { About } from '../../server/start-server.ts'
import { type Line, rendered } from './print.ts'

/** How many characters of lines wait while they cannot be written. More are lost. */
const MOST_WAITING = 1024 * 1024

/** Logs JSON lines to stdout, or readable lines if stdout is a terminal. Secrets are masked. */
export function createLog(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie'],
  }
  // In a thread, process.stdout is a pipe to the main thread, so this checks the file.
  if (!isAtTerminal()) {
    const file = pino.destination({ sync: true, maxLength: MOST_WAITING })
    return pino(options, cleaned(file, visibleJson))
  }
  const readable = pretty({
    ignore: 'pid,hostname',
    translateTime: 'HH:MM:ss',
    singleLine: true,
    sync: true,
  })
  return pino(options, cleaned(readable, withoutControls))
}

/** It gets whole lines, so no secret is split. A disk that is full of logs stops nothing else: its lines wait. */
function cleaned(
  destination: DestinationStream,
  clean: (line: string) => string,
): DestinationStream {
  return {
    write: (line) => {
      const text = clean(processMask.text(line))
      try {
        destination.write(text)
      } catch {
        // The next line tries again.
      }
    },
  }
}

/** Whether a person sees what this process prints. */
export const isAtTerminal = (): boolean => isatty(1)

/** Reports what a server does: with a line in its log, or with lines for a person at a terminal. */
export function reporter(log: Logger): (logged: string, ...shown: readonly Line[]) => void {
  if (!isAtTerminal()) return (logged) => log.info(logged)
  // A terminal may be closed, and the server must still stop as it should.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  return (_, ...shown) => {
    process.stdout.write(shown.map((line) => `${rendered(line)}\n`).join(''))
  }
}

/** The address that commands use by default. */
const DEFAULT_URL = 'http://127.0.0.1:8000'

/** The log has the others, which say what to do. */
const firstSentence = (text: string): string => text.split('. ', 1)[0] ?? ''

/** The lines of a server that is ready, for a person who looks for the address and for what to do next. */
export function readyLines(url: string, about: About, settings: StorePlace): readonly Line[] {
  const { isolation, model, modelProblem } = about
  const { RETRAI_DATA_DIR: dataDir, EVENTSTORE_URL: store } = settings
  const isSocket = url.startsWith('unix:')
  const server = url === DEFAULT_URL ? '' : ` --server ${url}`
  const rows = [
    ['data', dataDir],
    ...(store === undefined ? [] : [['log', processMask.text(store)]]),
    ['isolation', isolation ?? 'none is possible: commands of agents are refused'],
    ['model', modelProblem === null ? model : `${model}: it ${firstSentence(modelProblem)}`],
  ]
  return [
    '',
    ['retrAI is ready at ', { text: url, style: 'bold' }],
    ...rows.map(([name = '', value = '']): Line => {
      return [{ text: `  ${name.padEnd(10)}`, style: 'dim' }, value]
    }),
    '',
    isSocket ? 'To start a run:' : 'To start a run, open that address in a browser, or:',
    `  retrai run --cwd /path/to/your/project${server}`,
    '',
    'Ctrl+C stops the server.',
  ]
}

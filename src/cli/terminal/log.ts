import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import { processMask } from '../../log/masking.ts'
import { visibleJson, withoutControls } from './plain-text.ts'

/** Structured JSON lines on stdout, secrets masked; readable ones where stdout is a terminal. */
export function createLog(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie'],
  }
  // Asked of the file: in a thread, process.stdout is a pipe to the main one.
  if (!isatty(1)) return pino(options, cleaned(pino.destination({ sync: true }), visibleJson))
  const readable = pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true })
  return pino(options, cleaned(readable, withoutControls))
}

/** Whole lines come in, so no secret comes in pieces. */
function cleaned(
  destination: DestinationStream,
  clean: (line: string) => string,
): DestinationStream {
  return { write: (line) => destination.write(clean(processMask.text(line))) }
}

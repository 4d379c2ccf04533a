import { isatty } from 'node:tty'
import { type DestinationStream, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import { processMask } from '../../log/masking.ts'
import { visibleJson, withoutControls } from './plain-text.ts'

/** Logs JSON lines to stdout, or readable lines if stdout is a terminal. Secrets are masked. */
export function createLog(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie'],
  }
  // In a thread, process.stdout is a pipe to the main thread, so this checks the file.
  if (!isatty(1)) return pino(options, cleaned(pino.destination({ sync: true }), visibleJson))
  const readable = pretty({
    ...{ ignore: 'pid,hostname', translateTime: 'HH:MM:ss', singleLine: true, sync: true },
  })
  return pino(options, cleaned(readable, withoutControls))
}

/** It gets whole lines, so no secret is split. */
function cleaned(
  destination: DestinationStream,
  clean: (line: string) => string,
): DestinationStream {
  return { write: (line) => destination.write(clean(processMask.text(line))) }
}

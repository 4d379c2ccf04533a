import { type DestinationStream, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import { processMask } from '../store/masking.ts'

/** Structured JSON lines on stdout, secrets masked; readable ones where stdout is a terminal. */
export function createLog(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie'],
  }
  if (!process.stdout.isTTY) return pino(options, masked(pino.destination({ sync: true })))
  return pino(
    options,
    masked(pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true })),
  )
}

/** Whole lines come in, so no secret comes in pieces. */
function masked(destination: DestinationStream): DestinationStream {
  return { write: (line) => destination.write(processMask.text(line)) }
}

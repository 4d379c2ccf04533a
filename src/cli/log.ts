import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

/** Structured JSON lines on stdout; readable ones where stdout is a terminal. */
export function createLog(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie'],
  }
  if (!process.stdout.isTTY) return pino(options)
  return pino(options, pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }))
}

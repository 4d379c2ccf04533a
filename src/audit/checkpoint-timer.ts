import type { CheckpointWriter, WriteError } from './checkpoint-writer.ts'

/** Structured log lines, as pino takes them. */
type Log = {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** Writes a checkpoint every `seconds` if anything changed. `stop` waits for one that is under way. */
export function startCheckpoints(
  writer: CheckpointWriter,
  { seconds, log }: { readonly seconds: number; readonly log: Log },
): { stop(): Promise<void> } {
  let underWay: Promise<void> = Promise.resolve()
  let stopped = false
  let timer: NodeJS.Timeout
  const tick = async (): Promise<void> => {
    const written = await writer.write()
    if (written.isErr()) tell(written.error, log)
    else if (written.value !== null) {
      const { number, runs, root } = written.value
      log.info({ number, runs, root }, 'checkpoint written')
    }
    if (!stopped) wait()
  }
  const wait = (): void => {
    timer = setTimeout(() => {
      underWay = tick()
    }, seconds * 1000)
  }
  wait()
  return {
    stop: () => {
      stopped = true
      clearTimeout(timer)
      return underWay
    },
  }
}

function tell(error: WriteError, log: Log): void {
  if (error.type === 'wrong_expected_revision') {
    log.info({ error }, 'another server has written a checkpoint meanwhile')
  } else {
    log.warn({ error }, 'no checkpoint could be written, trying again later')
  }
}

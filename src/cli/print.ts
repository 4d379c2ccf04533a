import { once } from 'node:events'

/** As shells tell of SIGPIPE. */
const BROKEN_PIPE = 141

/** Writes a line to stdout, no faster than its reader takes it. */
export async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain')
}

/** Tells a person something that is no result: stdout is left to those. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Ends quietly where the reader of the output has gone, such as `| head`. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(BROKEN_PIPE)
    throw error
  })
}

import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { createAudit } from '../../audit/audit.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { redactionIndexOf } from '../../redaction/redaction-index.ts'
import { download, endingWith } from '../connection.ts'
import { dataDirOf, keyringOf, openDataFolder } from '../data-folder.ts'
import { EXIT, PLAIN_EXIT_CODES } from '../terminal/exit-codes.ts'
import { say } from '../terminal/print.ts'

const HELP = `
The file is a .tar.gz with the records, the artifacts that they name, a signed proof, the public keys and
a signed manifest. "retrai verify FILE" checks it, and docs/verification.md describes it byte by byte.
With --data-dir the log is read from the folder, even while a server uses it, and signed with its key.
${PLAIN_EXIT_CODES}`

type Options = { readonly output?: string; readonly server?: string; readonly dataDir?: string }

/** `retrai export RUN`: writes a run to one file that can be verified offline. */
export function exportCommand(): Command {
  return new Command('export')
    .description('Export a run as one file that can be verified without the server.')
    .argument('<run>', 'the id of the run')
    .option(
      '-o, --output <file>',
      'the file to write (default retrai-run-<id>.tar.gz; - for stdout)',
    )
    .option('--server <url>', 'the server (default http://127.0.0.1:8000)')
    .option('--data-dir <folder>', 'read this data folder instead of a server')
    .addHelpText('after', HELP)
    .action((runId: string, options: Options) =>
      endingWith(() => run(runId.toLowerCase(), options)),
    )
}

async function run(runId: string, options: Options): Promise<Result<number, string>> {
  const opened = await (options.dataDir === undefined
    ? fromServer(runId, options)
    : fromFolder(runId, options.dataDir))
  if (opened.isErr()) return err(opened.error)
  const { archive, close } = opened.value
  const target = options.output ?? `retrai-run-${runId}.tar.gz`
  try {
    await (target === '-'
      ? pipeline(archive, process.stdout, { end: false })
      : toFile(archive, target))
    if (target !== '-') say(`${target} is written. To check it: retrai verify ${target}`)
    return ok(EXIT.done)
  } catch (cause) {
    const reason = messageOf(cause)
    return err(`The export could not be finished: ${reason}. No file was written.`)
  } finally {
    await close()
  }
}

type Opened = { readonly archive: Readable; close(): Promise<void> }

async function fromServer(runId: string, options: Options): Promise<Result<Opened, string>> {
  const got = await download(options, `/api/runs/${encodeURIComponent(runId)}/export`)
  return got.map((archive) => ({ archive, close: async () => {} })).mapErr(({ message }) => message)
}

async function fromFolder(runId: string, given: string): Promise<Result<Opened, string>> {
  const dir = dataDirOf(given)
  if (dir.isErr()) return err(dir.error)
  const folder = await openDataFolder(dir.value)
  const keyring = folder.isErr() ? err(folder.error) : await keyringOf(dir.value)
  if (folder.isErr()) return err(folder.error)
  const { log, artifacts } = folder.value
  if (keyring.isErr()) {
    await log.close()
    return err(keyring.error)
  }
  const runs = { get: () => null }
  const index = await redactionIndexOf(log)
  if (index.isErr()) {
    await log.close()
    return err(index.error.message)
  }
  const store: StreamReader = {
    readStream: (stream, options) =>
      log.readStream(stream, options).map((page) => page.map((event) => index.value.apply(event))),
  }
  const audit = createAudit({
    store,
    runs,
    keyring: keyring.value,
    artifacts,
    clock: () => new Date(),
  })
  const archive = await audit.exportRun(runId)
  if (archive.isOk()) return ok({ archive: archive.value, close: () => log.close() })
  await log.close()
  const { error } = archive
  return err(
    error.type === 'stream_not_found' ? `There is no run ${runId} in ${given}.` : error.message,
  )
}

/** Writes a file, which gets its name only when it is complete. */
async function toFile(archive: Readable, target: string): Promise<void> {
  const part = `${target}.part`
  try {
    await pipeline(archive, createWriteStream(part))
    await rename(part, target)
  } catch (cause) {
    await rm(part, { force: true })
    throw cause
  }
}

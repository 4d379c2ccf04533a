import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'tsdown'
import * as z from 'zod'
import config from '../tsdown.config.ts'
import { table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

const ROUNDS = 7
const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** Verification of an export's records, against bare SHA-256 of the same bytes. */
export async function run(): Promise<string> {
  const rows = await inTemporaryFolder(async (folder) => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      await built(folder),
      `${ROUNDS}`,
    ])
    return z.array(z.array(z.string())).parse(JSON.parse(stdout))
  })
  return [
    '### Verification of a run',
    '',
    table(
      [
        'records',
        'bytes a record',
        'verified',
        'by one thread',
        'bare SHA-256',
        'ratio',
        'records/s',
      ],
      rows,
    ),
    '',
    `Medians of ${ROUNDS} alternating rounds, of code that is built as for the package. "Verified" is every check of the records:`,
    'text, schema, commitments, canonical form, hash, id, link, and whether a run can have done it. The',
    'limit only hashes the same bytes once. As in `retrai verify`, further threads start if there are many records,',
    'and that time counts.',
  ].join('\n')
}

/** From sources, a thread takes several times as long to start. @returns the file that Node runs */
async function built(folder: string): Promise<string> {
  const entry = {
    verify: 'bench/verify/verify-process.ts',
    'contents-thread': 'src/audit/verify/contents-thread.ts',
  }
  const [program] = config
  await build({
    ...program,
    ...{ entry, config: false, cwd: ROOT, outDir: folder, logLevel: 'error' },
  })
  return join(folder, 'verify.js')
}

if (import.meta.main) console.log(await run())

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as z from 'zod'

export const VERIFIER = join(import.meta.dirname, 'verify.py')

const Answer = z.object({
  holds: z.boolean(),
  first_bad_seq: z.number().nullable(),
  findings: z.array(z.string()),
})

const PROGRAM = `
import sys, verify
for file in sys.argv[1:]:
    verify.verify(file, None, True)`

/** What the verifier in Python finds in each of several archives, by one process. */
export async function inPython(archives: readonly Buffer[]): Promise<z.infer<typeof Answer>[]> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-python-'))
  try {
    const files = archives.map((_, index) => join(folder, `${index}.tar.gz`))
    await Promise.all(files.map((file, index) => writeFile(file, archives[index] ?? '')))
    const env = { ...process.env, PYTHONPATH: import.meta.dirname, PYTHONDONTWRITEBYTECODE: '1' }
    const { stdout } = await promisify(execFile)('python3', ['-c', PROGRAM, ...files], { env })
    const answers = stdout.trim().split('\n')
    return answers.map((line) => Answer.parse(JSON.parse(line)))
  } finally {
    await rm(folder, { recursive: true })
  }
}

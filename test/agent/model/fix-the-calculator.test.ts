import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { brokenProject, script } from '../../../examples/scripted-model/fix-the-calculator.ts'

const run = promisify(execFile)
const hasPytest = await run('python3', ['-m', 'pytest', '--version']).then(
  () => true,
  () => false,
)

async function createProject(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'calculator-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [path, content] of Object.entries(brokenProject)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
  return folder
}

/** Makes the patches of one turn as the tool `file_patch` would. */
async function play(folder: string, turn: number): Promise<void> {
  for (const { tool, args } of script[turn]?.calls ?? []) {
    if (tool !== 'file_patch') continue
    const path = join(folder, String(args.path))
    const before = await readFile(path, 'utf8')
    expect(before.split(String(args.old))).toHaveLength(2)
    await writeFile(
      path,
      before.replace(String(args.old), () => String(args.new)),
    )
  }
}

/** How many of the tests fail and pass. */
async function pytest(folder: string): Promise<readonly [failed: number, passed: number]> {
  const args = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider']
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }
  const { stdout } = await run('python3', args, { cwd: folder, env }).catch(
    (error: { stdout: string }) => error,
  )
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(stdout)?.[1] ?? 0)
  return [count('failed'), count('passed')]
}

it.skipIf(!hasPytest)('mends the calculator in three turns, a bug each', async () => {
  const folder = await createProject()
  const counts = [await pytest(folder)]
  for (const turn of script.keys()) {
    await play(folder, turn)
    counts.push(await pytest(folder))
  }
  expect(counts).toEqual([
    [5, 4],
    [3, 6],
    [2, 7],
    [0, 9],
  ])
})

it('patches text that is there exactly once', async () => {
  const folder = await createProject()
  for (const turn of script.keys()) await play(folder, turn)
  expect(script).toHaveLength(3)
})

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import * as javascript from '../../../examples/scripted-model/fix-the-calculator.ts'
import * as python from '../../../examples/scripted-model/fix-the-python-calculator.ts'
import { isMissing } from '../../support/missing.ts'

type Exercise = Pick<typeof javascript, 'brokenProject' | 'script'>

async function createProject({ brokenProject }: Exercise): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'calculator-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [path, content] of Object.entries(brokenProject)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
  return folder
}

/** Applies the patches of one turn as the tool `file_patch` does. */
async function play({ script }: Exercise, folder: string, turn: number): Promise<void> {
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

/** The output of a command, even if it fails. */
async function printed(folder: string, file: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', NO_COLOR: '1', FORCE_COLOR: '0' }
  const run = promisify(execFile)(file, args, { cwd: folder, env })
  return (await run.catch((error: { stdout: string }) => error)).stdout
}

const numberIn = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0)

/** How many of the tests fail and pass. */
type Counts = readonly [failed: number, passed: number]

async function npmTest(folder: string): Promise<Counts> {
  const text = await printed(folder, 'npm', 'test')
  return [numberIn(text, /^[ℹ#] fail (\d+)/m), numberIn(text, /^[ℹ#] pass (\d+)/m)]
}

async function pytest(folder: string): Promise<Counts> {
  const text = await printed(folder, 'python3', '-m', 'pytest', '-q', '-p', 'no:cacheprovider')
  return [numberIn(text, /(\d+) failed/), numberIn(text, /(\d+) passed/)]
}

async function countsOf(exercise: Exercise, count: typeof pytest): Promise<readonly Counts[]> {
  const folder = await createProject(exercise)
  const counts = [await count(folder)]
  for (const turn of exercise.script.keys()) {
    await play(exercise, folder, turn)
    counts.push(await count(folder))
  }
  return counts
}

/** Each turn fixes one bug. */
const FIXED = [
  [5, 4],
  [3, 6],
  [2, 7],
  [0, 9],
]

test('the model fixes the calculator in three turns', async () => {
  expect(await countsOf(javascript, npmTest)).toEqual(FIXED)
})

test.skipIf(isMissing('pytest'))(
  'the model fixes the calculator in Python in three turns',
  async () => {
    expect(await countsOf(python, pytest)).toEqual(FIXED)
  },
)

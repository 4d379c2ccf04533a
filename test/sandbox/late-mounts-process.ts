import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { chooseIsolation } from '../../src/sandbox/isolation.ts'

/** A server on a machine that mounts something while a command runs. It prints `mount FOLDER` and waits for a line, then what the command found. */
const base = await mkdtemp(join(tmpdir(), 'retrai-late-'))
const [dataDir, tools, project] = ['data', 'tools', 'project'].map((name) => join(base, name)) as [
  string,
  string,
  string,
]
for (const path of [dataDir, join(tools, 'inner'), join(project, 'inner')])
  await mkdir(path, { recursive: true })
const runner = new Runner({ error: () => {} })
const isolation = await chooseIsolation('namespaces', {
  ...{ runner, dataDir, env: process.env, toolPaths: [tools] },
})
process.stdin.once('data', () => void writeFile(join(project, 'go'), ''))
const script = `echo; until [ -e go ]; do sleep 0.02; done
grep -o ' ${base}/[a-z]*/inner ' /proc/self/mountinfo; touch ${tools}/inner/evil inner/mine; ls ${tools}/inner`
let hasBegun = false
const result = await commandRunner(
  DEFAULT_LIMITS,
  runner,
  isolation,
)({
  ...{ file: 'bash', args: ['-c', script], cwd: project, timeoutMs: 60_000 },
  onOutput: () => {
    if (!hasBegun) console.log(`mount ${tools}/inner ${project}/inner`)
    hasBegun = true
  },
  signal: new AbortController().signal,
})
console.log(JSON.stringify({ ...result, level: isolation.level, detail: isolation.detail }))
runner.close()
process.exit()

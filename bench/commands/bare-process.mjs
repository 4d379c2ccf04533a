// A small process that only starts commands with `spawn`. It is not TypeScript, because Node needs much more memory to
// run that, and a process with more memory starts others more slowly.
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

const O_PATH = 0o10000000

/** Runs a command; resolves to the bytes of its output when it has ended and its pipes are closed. */
function run({ file, args, cwd, pipes = [], files = [], paths = [] }) {
  const opened = [
    ...files.map((path) => openSync(path)),
    ...paths.map((path) => openSync(path, O_PATH)),
  ]
  const child = spawn(file, args, {
    cwd,
    env: { PATH: process.env.PATH },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...pipes.map(() => 'pipe'), ...opened],
  })
  for (const one of opened) closeSync(one)
  for (const [index, text] of pipes.entries()) {
    const pipe = child.stdio[3 + index]
    if (text === null) pipe.resume()
    else pipe.end(Buffer.from(text, 'base64'))
  }
  return new Promise((resolve, reject) => {
    let bytes = 0
    child.stdout.on('data', (chunk) => {
      bytes += chunk.length
    })
    child.stderr.resume()
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(bytes)
      else reject(new Error(`${file} ended with ${code}`))
    })
  })
}

/** Runs a command `count` times, `atOnce` at the same time; resolves to the milliseconds that each took. */
async function repeat({ command, count, atOnce }) {
  const times = []
  let left = count
  const worker = async () => {
    while (left > 0) {
      left -= 1
      const began = performance.now()
      await run(command)
      times.push(performance.now() - began)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: atOnce }, worker))
  return { ms: performance.now() - began, times }
}

const operations = { ready: () => {}, run, repeat }
process.on('message', async ({ id, operation, argument }) => {
  try {
    process.send({ id, value: await operations[operation](argument) })
  } catch (error) {
    process.send({ id, error: String(error) })
  }
})
process.once('disconnect', () => process.exit(0))

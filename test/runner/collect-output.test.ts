import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { collectOutput } from '../../src/runner/collect-output.ts'

const endless = () => new Readable({ read() {} })

function collected() {
  const stdout = endless()
  const stderr = endless()
  const output = collectOutput({ stdout, stderr }, 1000, {
    maxTotalBytes: 1000,
    onTooMuch: () => {},
  })
  const end = async (): Promise<string> => {
    stdout.push(null)
    stderr.push(null)
    await output.closed
    return output.both.text()
  }
  return { stdout, end }
}

const nextData = (stream: Readable): Promise<void> =>
  new Promise((resolve) => stream.once('data', () => resolve()))

test('small pieces of a possible secret are collected before they are checked again', async () => {
  const { stdout, end } = collected()
  const seen = nextData(stdout)
  stdout.push('eyJ')
  await seen
  expect(stdout.isPaused()).toBe(true)
  for (const crumb of 'of no importance') stdout.push(crumb)
  expect(await end()).toBe('eyJof no importance')
})

test('after text that is decided at once, reading continues at once', async () => {
  const { stdout, end } = collected()
  const seen = nextData(stdout)
  stdout.push('a line\n')
  await seen
  expect(stdout.isPaused()).toBe(false)
  expect(await end()).toBe('a line\n')
})

import { randomInt } from 'node:crypto'
import { fuzzServer } from './server.ts'

/** Fuzzes the API for an hour. Arguments: minutes, and the seed of an earlier run. */
const [minutes = '60', seed = String(randomInt(2 ** 31))] = process.argv.slice(2)
const end = Date.now() + Number(minutes) * 60_000
process.stdout.write(`seed ${seed}, ${minutes} minutes\n`)
const { requests, statuses } = await fuzzServer(Number(seed), () => Date.now() >= end)
process.stdout.write(`${requests} requests, none answered wrongly: ${JSON.stringify(statuses)}\n`)

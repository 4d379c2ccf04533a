import { proveRuns } from './runs.ts'

proveRuns({ rare: true })

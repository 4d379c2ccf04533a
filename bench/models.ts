import { caching } from './models/caching.ts'
import { liveParts } from './models/live-parts.ts'

/** What is shown of a reply while it is written, and what long runs pay for their input. */
export async function run(): Promise<string> {
  return ['### Models', await liveParts(), await caching()].join('\n\n')
}

if (import.meta.main) console.log(await run())

import { liveParts } from './models/live-parts.ts'

/** What is shown of a reply while it is written. */
export async function run(): Promise<string> {
  return ['### Models', await liveParts()].join('\n\n')
}

if (import.meta.main) console.log(await run())

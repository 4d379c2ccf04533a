import { fanOut } from './live/fan-out.ts'
import { lateJoiners } from './live/late-joiners.ts'
import { neverRead } from './live/never-read.ts'

/** Observers of runs over WebSockets, in a process of their own. */
export async function run(): Promise<string> {
  const sections: string[] = []
  for (const section of [fanOut, lateJoiners, neverRead]) {
    sections.push(await section())
  }
  return ['### Live delivery over WebSockets', ...sections].join('\n\n')
}

if (import.meta.main) console.log(await run())

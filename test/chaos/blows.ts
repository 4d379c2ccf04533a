import { LEASE_MS } from './ground.ts'
import type { Slot } from './slot.ts'
import type { Strike } from './strikes.ts'
import type { World } from './world.ts'

/** Deals a blow. What takes longer goes on behind it, and is handed to `keep`. */
export async function deal(
  { name, lastsMs, ...strike }: Strike,
  slot: Slot,
  world: World,
  keep: (lasting: Promise<void> | undefined) => void,
): Promise<void> {
  const run = world.runUnderWay(strike.choice)
  switch (name) {
    case 'kill':
      // A server that has a second one beside it stays away for a while.
      return slot.kill(world.slots.length > 1 ? lastsMs : 0)
    case 'crash_point':
      return slot.kill(0, { RETRAI_CRASH_AT: strike.crashAt })
    case 'terminate':
      return slot.terminate()
    case 'stall':
      return keep(slot.stall(lastsMs))
    case 'take_over':
      // It is silent for longer than its lease, so the others take all its runs, and it cannot know it yet.
      return keep(slot.stall(LEASE_MS + 2 * lastsMs))
    case 'abort':
      return run?.do((person, runId) => person.abort(runId))
    case 'configure':
      return run?.do((person, runId) => person.configure(runId))
    case 'visit':
      return keep(run?.visit(lastsMs))
    case 'second_server':
      return startSecond(slot, world)
    default:
      return keep(world.ground.strikes[name]?.({ name, lastsMs, ...strike }))
  }
}

/** A second server on the data of the first is refused, with a reason. */
async function startSecond(slot: Slot, world: World): Promise<void> {
  const [dataDir = ''] = world.ground.dataDirs
  if (!slot.steady) return
  const second = world.server(dataDir)
  if ((await second.url) !== null) world.finds('two servers work on the same data folder')
  second.kill('SIGKILL')
  const { code } = await second.exit
  if (code !== 1 || !second.output.includes(dataDir)) {
    world.finds(`a second server ended with ${code}:\n${second.output}`)
  }
}

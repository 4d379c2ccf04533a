import { script } from '../../../examples/scripted-model/fix-the-calculator.ts'
import type { Script } from '../../../examples/scripted-model/script.ts'

/** A model that fixes the calculator, but replies only when a test allows it. */
export function gatedModel() {
  let opened = 0
  let waiting: { readonly turn: number; readonly go: () => void }[] = []
  const model: Script = async ({ turn }) => {
    if (turn >= opened) {
      await new Promise<void>((go) => {
        waiting.push({ turn, go })
      })
    }
    return script[turn] ?? { text: 'My script ends here.' }
  }
  return {
    model,
    /** Allows the first `replies` replies of the model, in every run. */
    allowReplies(replies: number): void {
      opened = Math.max(opened, replies)
      for (const { turn, go } of waiting) if (turn < opened) go()
      waiting = waiting.filter(({ turn }) => turn >= opened)
    },
  }
}

import { Modal } from '@mantine/core'
import { StartForm } from './start-form.tsx'

type Props = { readonly opened: boolean; readonly onClose: () => void }

export function StartRun({ opened, onClose }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title="Start a run" size="lg">
      <StartForm onDone={onClose} />
    </Modal>
  )
}

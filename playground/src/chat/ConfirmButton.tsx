import { useId, useRef } from "react";

type Props = { label: string; question: string; onConfirm: () => void };

/** A button for what cannot be undone: it asks first. */
export function ConfirmButton({ label, question, onConfirm }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();

  function confirm() {
    dialog.current?.close();
    onConfirm();
  }

  return (
    <>
      <button type="button" className="button" onClick={() => dialog.current?.showModal()}>
        {label}
      </button>
      <dialog ref={dialog} aria-labelledby={id}>
        <p id={id}>{question}</p>
        <div className="dialog-bar">
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="button" className="button danger" onClick={confirm}>
            {label}
          </button>
        </div>
      </dialog>
    </>
  );
}

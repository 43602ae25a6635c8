//! Part 3 §24.1: primary objects.

use crate::commands::object::strip;
use crate::context::Context;
use crate::object::primary::{self, Root};
use crate::object::{Ancestor, Object, Slot, checks, creation};
use crate::rc::{Rc, Result};
use crate::types::{Public, SensitiveCreate};

/// TPM2_CreatePrimary.
pub(crate) fn create_primary(cx: &mut Context<'_>) -> Result<()> {
    let mut create: SensitiveCreate = cx.params.get()?;
    let template: Public = cx.params.get()?;
    let outside = cx.params.get()?;
    let pcrs = cx.params.get()?;
    cx.params.end()?;
    cx.s.objects.check_room()?;
    checks::template(None, &template, create.data.len()).map_err(|rc| rc.param(2))?;
    strip(&mut create.auth, template.name_alg).map_err(|rc| rc.param(1))?;
    let hierarchy = Ancestor::Hierarchy(cx.handle(0));
    let root = Root::new(cx.s, cx.handle(0));
    let (public, sensitive) = primary::create(&root, template, &create)?;
    let object = Object::assemble(public, Some(sensitive), hierarchy)?;
    let creation = creation::describe(
        cx.s,
        cx.locality,
        hierarchy,
        (object.public.name_alg.ok_or(Rc::HASH)?, &object.name),
        &outside,
        pcrs,
    )?;
    cx.out.sized(|w| w.put(&object.public));
    cx.out.put(&creation);
    cx.out.put(&object.name);
    cx.out_handle = cx.s.objects.insert(Slot::Object(object))?;
    Ok(())
}

//! Part 3 §12: objects.

use crate::buf::Secret;
use crate::context::Context;
use crate::crypto::drbg::{Drbg, Rng};
use crate::crypto::sym::BLOCK;
use crate::limits::MAX_AUTH;
use crate::object::checks::{self, Blame, Blamed};
use crate::object::primary::{self, Derivation, Root};
use crate::object::wrap::Private;
use crate::object::{Ancestor, Object, Slot, create as make, creation, name, wrap};
use crate::rc::{Rc, Result};
use crate::types::{
    Derive, HashAlg, ObjectAttributes as A, ObjectType, Parameters, Public, Sensitive,
    SensitiveCreate, Template, alg, rh,
};

/// Longest TPM2B_PRIVATE that is looked at, as long as the oracle's: what is longer than ours cannot be authentic.
pub(super) const MAX_PRIVATE_IN: usize = 1232;

/// The storage parent `handle`, which is the first of the handle area.
///
/// # Errors
/// TYPE handle 1: it is something else.
pub(super) fn storage_parent<'a>(cx: &'a Context<'_>, handle: u32) -> Result<&'a Object> {
    cx.s.objects
        .get(handle)
        .filter(|object| object.is_storage_parent())
        .ok_or(Rc::TYPE.handle(1))
}

/// An authorization value for an object with this algorithm for Names.
///
/// # Errors
/// SIZE: longer than a digest of it.
pub(super) fn strip(auth: &mut Secret<MAX_AUTH>, alg: Option<HashAlg>) -> Result<()> {
    auth.buf_mut().strip_trailing_zeros();
    if auth.len() > alg.map_or(MAX_AUTH, HashAlg::size) {
        return Err(Rc::SIZE);
    }
    Ok(())
}

/// An IV for the private area of a child.
pub(super) fn new_iv(rng: &mut Drbg) -> [u8; BLOCK] {
    let mut iv = [0; BLOCK];
    rng.fill(&mut iv);
    iv
}

/// The code of an error in areas that are parameters `public` and `sensitive`.
pub(super) fn blamed(public: usize, sensitive: usize) -> impl Fn(Blamed) -> Rc {
    move |(rc, whom)| match whom {
        Blame::Public => rc.param(public),
        Blame::Sensitive => rc.param(sensitive),
        Blame::Neither => rc,
    }
}

/// Makes an object from a checked template with the TPM's own random numbers.
pub(super) fn ordinary(
    cx: &mut Context<'_>,
    template: Public,
    create: &SensitiveCreate,
) -> Result<(Public, Sensitive)> {
    let mut public = template;
    let rng = cx.rng()?;
    let data = primary::given(&public, create);
    let secret = make::key(&mut public, data, rng)?;
    let sensitive = make::finish(&mut public, create.auth.clone(), secret, rng)?;
    Ok((public, sensitive))
}

/// TPM2_ObjectChangeAuth.
pub(crate) fn object_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let mut auth: Secret<MAX_AUTH> = cx.params.get()?;
    cx.params.end()?;
    let iv = new_iv(cx.rng()?);
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::TYPE.handle(1))?;
    strip(&mut auth, object.public.name_alg).map_err(|rc| rc.param(1))?;
    let parent =
        cx.s.objects
            .get(cx.handle(1))
            .filter(|parent| {
                let alg = object.public.name_alg;
                name::qualified(alg, &parent.qualified_name, &object.name) == object.qualified_name
            })
            .ok_or(Rc::TYPE.handle(2))?;
    let mut sensitive = object.sensitive.clone().ok_or(Rc::TYPE.handle(1))?;
    sensitive.auth = auth;
    let private = wrap::to_private(parent, &object.public, &object.name, &sensitive, &iv)
        .map_err(|rc| rc.handle(2))?;
    cx.out.put(&private);
    Ok(())
}

/// TPM2_Create.
pub(crate) fn create(cx: &mut Context<'_>) -> Result<()> {
    let mut create: SensitiveCreate = cx.params.get()?;
    let template: Public = cx.params.get()?;
    let outside = cx.params.get()?;
    let pcrs = cx.params.get()?;
    cx.params.end()?;
    let parent = storage_parent(cx, cx.handle(0))?;
    cx.s.objects.check_room()?;
    checks::template(Some(parent), &template, create.data.len()).map_err(|rc| rc.param(2))?;
    strip(&mut create.auth, template.name_alg).map_err(|rc| rc.param(1))?;
    let (public, sensitive) = ordinary(cx, template, &create)?;
    let iv = new_iv(cx.rng()?);
    let parent = storage_parent(cx, cx.handle(0))?;
    let name = name::of(&public);
    let private = wrap::to_private(parent, &public, &name, &sensitive, &iv)?;
    let creation = creation::describe(
        cx.s,
        cx.locality,
        Ancestor::Object(parent),
        (public.name_alg.ok_or(Rc::HASH)?, &name),
        &outside,
        pcrs,
    )?;
    cx.out.put(&private);
    cx.out.sized(|w| w.put(&public));
    cx.out.put(&creation);
    Ok(())
}

/// TPM2_Load.
pub(crate) fn load(cx: &mut Context<'_>) -> Result<()> {
    let private = cx.params.with(|r| r.sized_bytes(MAX_PRIVATE_IN))?;
    let public: Public = cx.params.get()?;
    cx.params.end()?;
    cx.s.objects.check_room()?;
    if private.is_empty() {
        return Err(Rc::SIZE.param(1));
    }
    let parent = storage_parent(cx, cx.handle(0))?;
    let sensitive =
        wrap::from_private(parent, &name::of(&public), private).map_err(|rc| rc.param(1))?;
    checks::load(Some(parent), &public, Some(&sensitive)).map_err(blamed(2, 1))?;
    let object = Object::assemble(public, Some(sensitive), Ancestor::Object(parent))?;
    cx.out.put(&object.name);
    cx.out_handle = cx.s.objects.insert(Slot::Object(object))?;
    Ok(())
}

/// TPM2_Unseal.
pub(crate) fn unseal(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::TYPE.handle(1))?;
    if object.public.object_type() != ObjectType::KeyedHash {
        return Err(Rc::TYPE.handle(1));
    }
    let uses = A::DECRYPT.union(A::SIGN).union(A::RESTRICTED);
    if object.attributes().intersects(uses) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let sensitive = object.sensitive.as_ref().ok_or(Rc::TYPE.handle(1))?;
    cx.out.sized_bytes(&sensitive.secret);
    Ok(())
}

/// TPM2_LoadExternal.
pub(crate) fn load_external(cx: &mut Context<'_>) -> Result<()> {
    let sensitive: Option<Sensitive> = cx.params.with(|r| r.sized(|r| r.get()))?;
    let public = cx.params.with(|r| Public::sized(r, true))?;
    let hierarchy = cx.params.with(hierarchy)?;
    cx.params.end()?;
    cx.s.objects.check_room()?;
    if !cx.s.hierarchy_enabled(hierarchy) {
        return Err(Rc::HIERARCHY.param(3));
    }
    if sensitive.is_some() {
        if hierarchy != rh::NULL {
            return Err(Rc::HIERARCHY.param(3));
        }
        // It must not look like an object of this TPM.
        let own = A::FIXED_TPM.union(A::FIXED_PARENT).union(A::RESTRICTED);
        if public.attributes.intersects(own) {
            return Err(Rc::ATTRIBUTES.param(2));
        }
    }
    checks::load(None, &public, sensitive.as_ref()).map_err(blamed(2, 1))?;
    let mut object = Object::assemble(public, sensitive, Ancestor::Hierarchy(hierarchy))?;
    // It has no ancestors.
    object.qualified_name = object.name.clone();
    object.external = true;
    object.primary = false;
    cx.out.put(&object.name);
    cx.out_handle = cx.s.objects.insert(Slot::Object(object))?;
    Ok(())
}

/// TPMI_RH_HIERARCHY+.
fn hierarchy(r: &mut crate::codec::Reader<'_>) -> Result<u32> {
    match r.u32()? {
        handle @ (rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM | rh::NULL) => Ok(handle),
        _ => Err(Rc::VALUE),
    }
}

/// TPM2_ReadPublic.
pub(crate) fn read_public(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::SEQUENCE)?;
    cx.out.sized(|w| w.put(&object.public));
    cx.out.put(&object.name);
    cx.out.put(&object.qualified_name);
    Ok(())
}

/// TPM2_CreateLoaded.
pub(crate) fn create_loaded(cx: &mut Context<'_>) -> Result<()> {
    let mut create: SensitiveCreate = cx.params.get()?;
    let template = cx.params.with(|r| r.sized_bytes(name::MAX_PUBLIC))?;
    cx.params.end()?;
    cx.s.objects.check_room()?;
    let handle = cx.handle(0);
    let parent = match crate::types::hr::of(handle) {
        crate::types::hr::PERMANENT => None,
        _ => Some(
            cx.s.objects
                .get(handle)
                .filter(|object| object.is_storage_parent() || object.is_derivation_parent())
                .ok_or(Rc::TYPE.handle(1))?,
        ),
    };
    let derives = parent.is_some_and(Object::is_derivation_parent);
    let template = Template::read(template, derives).map_err(|rc| rc.param(2))?;
    let public = template.public;
    strip(&mut create.auth, public.name_alg).map_err(|rc| rc.param(1))?;
    let (public, sensitive) = match (parent, template.derive) {
        (Some(parent), Some(derive)) => derived(parent, public, derive, &create)?,
        (parent, _) => {
            checks::template(parent, &public, create.data.len()).map_err(|rc| rc.param(2))?;
            if parent.is_some() {
                ordinary(cx, public, &create)?
            } else {
                primary::create(&Root::new(cx.s, handle), public, &create)?
            }
        }
    };
    let iv = new_iv(cx.rng()?);
    let parent = cx.s.objects.get(handle);
    let ancestor = parent.map_or(Ancestor::Hierarchy(handle), Ancestor::Object);
    let object = Object::assemble(public, Some(sensitive), ancestor)?;
    let private = match (parent, &object.sensitive) {
        (Some(parent), Some(sensitive)) if !derives => {
            wrap::to_private(parent, &object.public, &object.name, sensitive, &iv)?
        }
        _ => Private::new(),
    };
    cx.out.put(&private);
    cx.out.sized(|w| w.put(&object.public));
    cx.out.put(&object.name);
    cx.out_handle = cx.s.objects.insert(Slot::Object(object))?;
    Ok(())
}

/// The object that follows from a derivation parent's secret, with the label and context of the template or, where it
/// has none, of the caller's data (Part 1 §25).
fn derived(
    parent: &Object,
    template: Public,
    derive: Derive,
    create: &SensitiveCreate,
) -> Result<(Public, Sensitive)> {
    let mut public = template;
    if public.object_type() == ObjectType::Rsa {
        return Err(Rc::TYPE.param(2));
    }
    if public.attributes.contains(A::SENSITIVE_DATA_ORIGIN) {
        return Err(Rc::ATTRIBUTES);
    }
    checks::public_area(Some(parent), &public).map_err(|rc| rc.param(2))?;
    let mut derive = derive;
    if !create.data.is_empty() {
        let mut r = crate::codec::Reader::new(&create.data);
        let given: Derive = r.get()?;
        if derive.label.is_empty() {
            derive.label = given.label;
        }
        if derive.context.is_empty() {
            derive.context = given.context;
        }
    }
    let Parameters::KeyedHash { scheme } = parent.public.parameters else {
        return Err(Rc::TYPE.handle(1));
    };
    let (Some(hash), alg::XOR) = (scheme.hash, scheme.alg) else {
        return Err(Rc::TYPE.handle(1));
    };
    let key = parent.sensitive.as_ref().ok_or(Rc::TYPE.handle(1))?;
    let mut rng = Derivation::new(hash, &key.secret, &derive.label, &derive.context);
    let secret = make::key(&mut public, &[], &mut rng)?;
    let sensitive = make::finish(&mut public, create.auth.clone(), secret, &mut rng)?;
    Ok((public, sensitive))
}

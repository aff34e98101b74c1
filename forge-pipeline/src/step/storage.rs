use std::sync::Arc;

use forge_core::{
    CompareAndDelete, ConfigError, Generation, StorageError, TokenData, TokenLeases, TokenStorage,
    async_trait,
};

/// The pipeline's storage without its leases. The manager around the pipeline holds a lease that covers all steps. A
/// lease of a step, taken within that one, would make this process wait for itself.
#[derive(Debug)]
pub(super) struct StepStorage(pub(super) Arc<dyn TokenStorage>);

#[async_trait]
impl TokenStorage for StepStorage {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        self.0.get(key).await
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.set(key, token).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.delete(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        self.0.exists(key).await
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        self.0.check_key(key)
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        self.0.generation(key)
    }

    fn compare_and_delete(&self) -> Option<&dyn CompareAndDelete> {
        self.0.compare_and_delete()
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        None
    }
}

#[cfg(test)]
mod tests {
    use forge_storage_memory::InMemoryTokenStorage;

    use super::*;

    #[test]
    fn a_step_has_all_of_its_storage_but_the_leases() {
        let storage = InMemoryTokenStorage::new();
        let of_step = StepStorage(Arc::new(storage.clone()));
        assert!(storage.leases().is_some() && of_step.leases().is_none());
        assert!(of_step.compare_and_delete().is_some());
        let generations = [storage.generation("k"), of_step.generation("k")];
        let [of_storage, of_step] =
            generations.each_ref().map(|generation| generation.as_ref().unwrap().id());
        assert_eq!(of_storage, of_step);
    }
}
